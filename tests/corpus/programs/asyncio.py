"""An event loop: programs, sockets of both kinds, threads, signals and time limits."""

import asyncio
import json
import os
import signal
import sys
import threading


async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()


async def say(connection, words):
    reader, writer = await connection
    writer.write(b"".join(word + b"\n" for word in words))
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode().split()


async def main():
    loop = asyncio.get_running_loop()
    tcp = await asyncio.start_server(echo, "127.0.0.1", 0)
    unix = await asyncio.start_unix_server(echo, "/tmp/echo.sock")
    port = tcp.sockets[0].getsockname()[1]
    many = await asyncio.gather(*(say(asyncio.open_connection("127.0.0.1", port), [b"a%d" % i]) for i in range(50)))
    local = await say(asyncio.open_unix_connection("/tmp/echo.sock"), [b"one", b"two"])

    cat = await asyncio.create_subprocess_exec(
        "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    copied, _ = await cat.communicate(b"x" * 300_000)
    failing = await asyncio.create_subprocess_shell("echo no >&2; exit 3", stderr=asyncio.subprocess.PIPE)
    _, said = await failing.communicate()
    children = await asyncio.gather(*(
        asyncio.create_subprocess_exec(sys.executable, "-c", f"raise SystemExit({i})") for i in range(6)
    ))
    codes = await asyncio.gather(*(child.wait() for child in children))

    sleeper = await asyncio.create_subprocess_exec("sleep", "600")
    sleeper.terminate()

    threads = await asyncio.gather(*(asyncio.to_thread(threading.get_ident) for _ in range(4)))
    caught = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, caught.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.wait_for(caught.wait(), 30)
    try:
        await asyncio.wait_for(asyncio.sleep(600), 0.05)
        late = "slept"
    except asyncio.TimeoutError:
        late = "timeout"
    try:
        await asyncio.open_connection("192.0.2.1", 80)
        outside = "connected"
    except OSError as error:
        outside = error.errno

    print(json.dumps({
        "tcp": many == [[f"A{i}"] for i in range(50)],
        "unix": local,
        "copied": len(copied),
        "failing": [failing.returncode, said.decode()],
        "codes": codes,
        "terminated": await sleeper.wait(),
        "elsewhere": threading.get_ident() not in threads,
        "late": late,
        "outside": outside,
        "address": (await loop.getaddrinfo("localhost", 80))[0][4][0] in ("127.0.0.1", "::1"),
    }))
    tcp.close()
    unix.close()


asyncio.run(main())
