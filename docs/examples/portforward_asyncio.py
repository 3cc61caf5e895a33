"""Use a pod's port as asyncio's reader and writer, as libraries and protocols of your own want them."""

import asyncio

from kubex_stream import Pods, PortForwardError, create_client


async def main() -> None:
    async with create_client() as client:
        portforward = Pods(client).portforward
        async with portforward.open_connection("demo", 7) as (reader, writer):  # it gives back what it gets
            writer.write(b"hello\n")
            await writer.drain()
            print((await reader.readline()).decode(), end="")
        async with portforward.open_connection("demo", 8080) as (reader, _):
            try:
                await reader.readline()
            except PortForwardError as error:
                print(f"{error.kind}: port {error.port}")


if __name__ == "__main__":
    asyncio.run(main())
