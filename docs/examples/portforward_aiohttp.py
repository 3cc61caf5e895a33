"""Talk HTTP to a pod with aiohttp, many requests at once, without a local port."""

import asyncio

import aiohttp

from kubex_stream import Pods, create_client
from kubex_stream_aiohttp import PortForwardConnector


async def size(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(url) as response:
        response.raise_for_status()
        return len(await response.read())


async def main() -> None:
    async with (
        create_client() as client,
        Pods(client).portforward.forwarder("deploy/demo") as forwarder,
        aiohttp.ClientSession(connector=PortForwardConnector(forwarder, limit=10)) as http,
    ):
        sizes = await asyncio.gather(*(size(http, f"http://demo/bytes/{number}000") for number in range(1, 21)))
        print(sum(sizes), "bytes in", len(sizes), "answers")
        try:
            await size(http, "http://demo:8080/")
        except aiohttp.ClientConnectorError as error:
            print(error.os_error)  # nothing listens there


if __name__ == "__main__":
    asyncio.run(main())
