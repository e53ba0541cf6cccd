"""The whole path on this machine: browser, API Gateway, Lambda, agent. `make relay-demo` runs it.

    python demo.py [flags of agentcore-local, such as --agent http://127.0.0.1:8080]

AGENTCORE_LOCAL_BIN names the local data plane's program, if it is not on the PATH.
"""

import json
import os
import subprocess
import sys
import webbrowser
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parent


def main():
    given = sys.argv[1:]
    # Any free port that is the same each time, so that a tab that is open finds it again.
    port = [] if any(flag.startswith("--port") for flag in given) else ["--port", "8717"]
    # Slow enough to watch, unless the agent is another one.
    pace = [] if any(flag.startswith("--agent") for flag in given) else ["--pace-ms", "60"]
    command = [
        os.environ.get("AGENTCORE_LOCAL_BIN", "agentcore-local"),
        *("--handler", f'"{sys.executable}" "{HERE / "bootstrap.py"}"'),
        *("--handler-env", f"LAMBDA_TASK_ROOT={EXAMPLE / 'python'}"),
        *("--handler-env", "ALLOWED_ORIGINS=*"),
        *("--page", str(EXAMPLE / "page")),
        *port,
        *pace,
        *given,
    ]
    try:
        local = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except FileNotFoundError:
        sys.exit(f"There is no program {command[0]}; AGENTCORE_LOCAL_BIN may name it.")
    # It ends with its standard input, and takes the function along.
    with local:
        line = local.stdout.readline()
        if not line:
            sys.exit("The local data plane did not start; what it says stands above.")
        page = json.loads(line)["page_url"]
        print(f"\n  Open {page} and ask something. Ctrl-C ends it.\n", flush=True)
        # Where there is a screen: elsewhere a browser for the terminal might open.
        if sys.stdout.isatty() and (sys.platform != "linux" or os.environ.get("DISPLAY")):
            webbrowser.open(page)
        try:
            local.wait()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
