"""A program: the six examples of kubernetes_asyncio's document on streaming, over this library.

``python examples.py NAME``, with a ``KUBECONFIG``.  Changed are the import of ``stream``, the names of pods, containers, shells, ports and
files, which come from the environment, and the plumbing of the keyboard: the text layer of ``sys.stdin`` reads more than it is asked for,
so that ``select`` misses what it keeps.  (``v1`` is Any: that package says that a stream is a str.)
"""

# ruff: noqa: T201, UP041, RET508, ARG001, ASYNC230  (as it is in the document)

from __future__ import annotations

import asyncio
import base64
import fcntl
import os
import select
import signal
import struct
import sys
import termios
import tty
from contextlib import suppress
from functools import partial
from typing import Any

from kubernetes_asyncio import client, config

from kubex_stream.compat import kubernetes_asyncio as stream

if "BACKEND" in os.environ:
    vars(stream)["WsApiClient"] = partial(stream.WsApiClient, backend=os.environ["BACKEND"])

POD = os.environ.get("POD", "demo")
NAMESPACE = os.environ.get("NAMESPACE", "default")
CONTAINER = os.environ.get("CONTAINER", "main")
SHELL = os.environ.get("SHELL_PATH", "/bin/sh")
PORT = os.environ.get("PORT", "8080")
LOCAL = os.environ.get("LOCAL", "")
REMOTE = os.environ.get("REMOTE", "")


class Keyboard:
    """stdin without a text layer."""

    def fileno(self) -> int:
        return 0

    def read(self, size: int) -> str:
        return os.read(0, size).decode()


async def exec_in_pod() -> None:
    await config.load_config()

    # Create WebSocket-enabled client
    ws_client = stream.WsApiClient()
    v1: Any = client.CoreV1Api(ws_client)

    try:
        # Execute command in pod
        exec_command = ["/bin/sh", "-c", 'echo "Hello from container"; ls -la']

        response = await v1.connect_get_namespaced_pod_exec(
            name=POD, namespace=NAMESPACE, command=exec_command, stderr=True, stdin=False, stdout=True, tty=False
        )

        # Read output from exec session
        while True:
            try:
                channel, data = await response.read_channel(timeout=10)

                if channel == stream.STDOUT_CHANNEL:
                    print(f"STDOUT: {data.decode('utf-8')}", end="")
                elif channel == stream.STDERR_CHANNEL:
                    print(f"STDERR: {data.decode('utf-8')}", end="")
                elif channel == stream.ERROR_CHANNEL:
                    error_info = ws_client.parse_error_data(data)
                    if error_info.get("status") == "Success":
                        print("Command completed successfully")
                        break
                    else:
                        print(f"Error: {error_info}")
                        break

            except asyncio.TimeoutError:
                print("Exec session timed out")
                break

    finally:
        await response.close()
        await ws_client.close()


async def interactive_shell() -> None:
    await config.load_config()

    ws_client = stream.WsApiClient()
    v1: Any = client.CoreV1Api(ws_client)

    try:
        # Start interactive shell
        response = await v1.connect_get_namespaced_pod_exec(
            name=POD, namespace=NAMESPACE, command=[SHELL], stderr=True, stdin=True, stdout=True, tty=True
        )

        # Set terminal to raw mode for interactive session
        old_settings = termios.tcgetattr(sys.stdin)
        tty.setraw(sys.stdin.fileno())

        try:
            # Handle bidirectional communication
            async def read_output() -> None:
                while True:
                    try:
                        channel, data = await response.read_channel(timeout=0.1)

                        if channel == stream.STDOUT_CHANNEL:
                            sys.stdout.write(data.decode("utf-8"))
                            sys.stdout.flush()
                        elif channel == stream.STDERR_CHANNEL:
                            sys.stderr.write(data.decode("utf-8"))
                            sys.stderr.flush()
                        elif channel == stream.ERROR_CHANNEL:
                            error_info = ws_client.parse_error_data(data)
                            if error_info.get("status") != "Success":
                                print(f"\nError: {error_info}")
                            break

                    except asyncio.TimeoutError:
                        continue

            async def send_input() -> None:
                while True:
                    # Check for input without blocking
                    if select.select([sys.stdin], [], [], 0.1)[0]:
                        char = sys.stdin.read(1)
                        if char:
                            await response.write_channel(stream.STDIN_CHANNEL, char.encode("utf-8"))
                    await asyncio.sleep(0.01)

            # Run both input and output handlers concurrently
            await asyncio.gather(read_output(), send_input())

        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, old_settings)

    finally:
        await response.close()
        await ws_client.close()


async def attach_to_pod() -> None:
    await config.load_config()

    ws_client = stream.WsApiClient()
    v1: Any = client.CoreV1Api(ws_client)

    try:
        # Attach to running container
        response = await v1.connect_get_namespaced_pod_attach(
            name=POD, namespace=NAMESPACE, container=CONTAINER, stderr=True, stdin=True, stdout=True, tty=True
        )

        # Send initial command
        command = f"{SHELL}\n"
        await response.write_channel(stream.STDIN_CHANNEL, command.encode("utf-8"))

        # Read responses
        timeout_count = 0
        while timeout_count < 5:  # Exit after 5 timeouts
            try:
                channel, data = await response.read_channel(timeout=2)

                if channel == stream.STDOUT_CHANNEL:
                    print(f"Output: {data.decode('utf-8')}", end="")
                    timeout_count = 0  # Reset timeout counter
                elif channel == stream.STDERR_CHANNEL:
                    print(f"Error: {data.decode('utf-8')}", end="")
                    timeout_count = 0
                elif channel == stream.ERROR_CHANNEL:
                    error_info = ws_client.parse_error_data(data)
                    print(f"Status: {error_info}")
                    break

            except asyncio.TimeoutError:
                timeout_count += 1
                print("No output received...")

    finally:
        await response.close()
        await ws_client.close()


async def port_forward() -> None:
    await config.load_config()

    ws_client = stream.WsApiClient()
    v1: Any = client.CoreV1Api(ws_client)

    try:
        # Set up port forwarding
        response = await v1.connect_get_namespaced_pod_portforward(name=POD, namespace=NAMESPACE, ports=PORT)

        print(f"Port forwarding established on port {PORT}")

        # Handle port forwarding data
        while True:
            try:
                channel, data = await response.read_channel(timeout=30)

                if channel == stream.STDOUT_CHANNEL:
                    # Handle forwarded data from port 8080
                    print(f"Received {len(data)} bytes from port {PORT}")
                    # Process or forward data as needed
                elif channel == stream.ERROR_CHANNEL:
                    error_info = ws_client.parse_error_data(data)
                    if error_info.get("status") != "Success":
                        print(f"Port forward error: {error_info}")
                    break

            except asyncio.TimeoutError:
                print("Port forwarding timeout - connection may be idle")
                continue

    finally:
        await response.close()
        await ws_client.close()


async def exec_with_resize() -> None:
    await config.load_config()

    ws_client = stream.WsApiClient()
    v1: Any = client.CoreV1Api(ws_client)

    try:
        response = await v1.connect_get_namespaced_pod_exec(
            name=POD, namespace=NAMESPACE, command=[SHELL], stderr=True, stdin=True, stdout=True, tty=True
        )

        # Get initial terminal size
        def get_terminal_size() -> tuple[Any, ...]:
            s = struct.pack("HHHH", 0, 0, 0, 0)
            x = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, s)
            return struct.unpack("HHHH", x)[:2]  # rows, cols

        # Send initial terminal size
        rows, cols = get_terminal_size()
        resize_data = f'{{"Width":{cols},"Height":{rows}}}'
        await response.write_channel(stream.RESIZE_CHANNEL, resize_data.encode("utf-8"))

        # Handle terminal resize signals
        def handle_resize(signum: object, frame: object) -> None:
            rows, cols = get_terminal_size()
            resize_data = f'{{"Width":{cols},"Height":{rows}}}'

            # Note: In real implementation, you'd need to queue this
            # for the async event loop to process
            print(f"Terminal resized to {cols}x{rows}: {resize_data}")

        signal.signal(signal.SIGWINCH, handle_resize)

        # Continue with normal exec session handling...
        await response.write_channel(stream.STDIN_CHANNEL, b"stty size; exit\n")
        while True:
            channel, data = await response.read_channel(timeout=10)
            if channel == stream.ERROR_CHANNEL:
                break
            sys.stdout.write(data.decode("utf-8"))

    finally:
        await response.close()
        await ws_client.close()


async def upload_file_to_pod() -> None:
    await config.load_config()

    ws_client = stream.WsApiClient()
    v1: Any = client.CoreV1Api(ws_client)

    try:
        # Read local file
        with open(LOCAL, "rb") as f:
            file_content = f.read()

        # Base64 encode for safe transmission
        encoded_content = base64.b64encode(file_content).decode("utf-8")

        # Create command to decode and write file in pod
        command = [
            "/bin/sh",
            "-c",
            f'echo "{encoded_content}" | base64 -d > {REMOTE} && echo "File uploaded successfully"',
        ]

        response = await v1.connect_get_namespaced_pod_exec(
            name=POD, namespace=NAMESPACE, command=command, stderr=True, stdin=False, stdout=True, tty=False
        )

        # Monitor upload progress
        while True:
            try:
                channel, data = await response.read_channel(timeout=30)

                if channel == stream.STDOUT_CHANNEL:
                    output = data.decode("utf-8")
                    print(f"Output: {output}")
                elif channel == stream.STDERR_CHANNEL:
                    error = data.decode("utf-8")
                    print(f"Error: {error}")
                elif channel == stream.ERROR_CHANNEL:
                    error_info = ws_client.parse_error_data(data)
                    if error_info.get("status") == "Success":
                        print("File upload completed")
                        break
                    else:
                        print(f"Upload failed: {error_info}")
                        break

            except asyncio.TimeoutError:
                print("Upload timeout")
                break

    finally:
        await response.close()
        await ws_client.close()


if __name__ == "__main__":
    vars(sys)["stdin"] = Keyboard()
    # send_input has no end of its own: it is the first key after the end of the shell that ends it.
    with suppress(BrokenPipeError):
        asyncio.run({each.__name__: each for each in (
            exec_in_pod, interactive_shell, attach_to_pod, port_forward, exec_with_resize, upload_file_to_pod
        )}[sys.argv[1]]())  # fmt: skip
