"""A shell in a pod, with every way it can fail told in a line, and an exit code as ssh gives it: 255 where it was not the command's.

Usage: python interactive_robust.py [POD [COMMAND...]]
"""

import signal
import sys

import anyio

from kubex_stream import (
    ClientOptions,
    ConnectionLost,
    KubexClientException,
    Pods,
    StartError,
    StatusMissing,
    Terminal,
    create_client,
)

FAILED = 255


async def main(pod: str = "demo", *command: str) -> int:
    code = FAILED
    async with anyio.create_task_group() as tasks:

        async def give_up_at_signals() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
                async for number in signals:
                    print(f"signal {number}", file=sys.stderr)
                    tasks.cancel_scope.cancel()

        tasks.start_soon(give_up_at_signals)
        code = await shell(pod, command or ("sh",))
        tasks.cancel_scope.cancel()
    return code


async def shell(pod: str, command: tuple[str, ...]) -> int:
    options = ClientOptions(timeout=10, heartbeat=5, heartbeat_timeout=15)
    try:
        async with create_client(options=options) as client:
            result = await Pods(client).exec.interactive(
                pod, command, tty=Terminal().is_terminal, detach_keys="ctrl-],ctrl-]"
            )
    except StartError as error:
        problem = f"cannot start {command[0]}: {error}"
    except ConnectionLost as error:
        problem = f"the connection broke, and the command may still run: {error}"
    except StatusMissing as error:
        problem = f"nobody knows how the command ended: {error}"
    except (KubexClientException, OSError) as error:
        problem = str(error)
    else:
        if result.detached:
            print("detached; the command goes on", file=sys.stderr)
        return result.exit_code or 0
    # The terminal is itself again, so this is an ordinary line.
    print(problem, file=sys.stderr)
    return FAILED


if __name__ == "__main__":
    code = anyio.run(main, *sys.argv[1:])
    if code:
        sys.exit(code)
