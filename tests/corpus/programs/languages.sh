# The other interpreters, started from a shell.
set -euo pipefail
node -p '6 * 7'
node -e 'fetch("http://192.0.2.1/").catch((error) => console.log(error.cause.code))'
python3 -c 'print(6 * 7)'
python3 - <<'PYTHON'
import threading
barrier = threading.Barrier(33)
for _ in range(32):
    threading.Thread(target=barrier.wait).start()
barrier.wait(60)
print(barrier.parties - 1)
PYTHON
