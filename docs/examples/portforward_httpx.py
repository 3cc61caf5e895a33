"""Talk HTTP to a Service's pod with httpx, without a local port.

Usage: python portforward_httpx.py
"""

import anyio
import httpx

from kubex_stream import Pods, create_client
from kubex_stream_httpx import PortForwardTransport


async def main() -> None:
    async with (
        create_client() as client,
        Pods(client).portforward.forwarder("svc/demo") as forwarder,
        httpx.AsyncClient(transport=PortForwardTransport(forwarder), base_url="http://demo") as http,
    ):
        print((await http.get("/")).raise_for_status().text)
        async with http.stream("GET", "/bytes/5000000") as response:
            print(sum([len(piece) async for piece in response.aiter_bytes()]), "bytes")
        try:
            await http.get("http://demo:8080/")
        except httpx.ConnectError as error:
            print(error)  # the Service has no such port


if __name__ == "__main__":
    anyio.run(main)
