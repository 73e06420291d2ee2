"""Processes that work together, started both ways: by fork, and afresh by spawn."""

import json
import multiprocessing as mp
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import shared_memory


def square(x):
    return x * x


def fail(x):
    raise ValueError(f"no {x}")


def add(lock, counter, done):
    for _ in range(200):
        with lock:
            counter.value += 1
    done.put(mp.current_process().name)


def fill(name, start):
    block = shared_memory.SharedMemory(name=name)
    block.buf[start] = start
    block.close()


def try_all(method):
    context = mp.get_context(method)
    with context.Pool(4) as pool:
        squares = sum(pool.map(square, range(1000), chunksize=50))
        try:
            pool.apply(fail, (7,))
            error = None
        except ValueError as raised:
            error = str(raised)

    lock, counter, done = context.Lock(), context.Value("i", 0, lock=False), context.Queue()
    adders = [context.Process(target=add, args=(lock, counter, done), name=f"adder {i}") for i in range(3)]
    for adder in adders:
        adder.start()
    names = sorted(done.get(timeout=60) for _ in adders)
    for adder in adders:
        adder.join()

    block = shared_memory.SharedMemory(create=True, size=1 << 20)
    fillers = [context.Process(target=fill, args=(block.name, i)) for i in (1, 2)]
    for filler in fillers:
        filler.start()
    for filler in fillers:
        filler.join()
    filled = list(block.buf[:4])
    block.close()
    block.unlink()

    with ProcessPoolExecutor(2, mp_context=context) as executor:
        futures = list(executor.map(square, range(10)))

    sleeper = context.Process(target=context.Event().wait)
    sleeper.start()
    sleeper.kill()
    sleeper.join()
    return {
        "squares": squares,
        "error": error,
        "counter": counter.value,
        "names": names,
        "codes": [adder.exitcode for adder in adders],
        "filled": filled,
        "futures": futures,
        "killed": sleeper.exitcode,
    }


if __name__ == "__main__":
    with mp.Manager() as manager:
        shared = manager.dict(a=1)
        shared["b"] = 2
        managed = dict(shared)
    print(json.dumps({"fork": try_all("fork"), "spawn": try_all("spawn"), "managed": managed}))
