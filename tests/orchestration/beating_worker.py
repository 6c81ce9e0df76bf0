"""A worker that only beats and answers for its stacks, by the product's own means; a letter tells it to misbehave."""

import ctypes
import sys
import time

from launcher.runtime.reporter import Reporter
from launcher.runtime.stacks import write_stacks_to
from launcher.storage.mailbox import Mailbox


def hold_the_interpreter() -> None:
    """Sleep in C without giving the interpreter away, as a library does that forgot to."""
    while True:
        ctypes.PyDLL(None).sleep(60)


def main(folder: str) -> None:
    mailbox = Mailbox(folder)
    while mailbox.look("begin") is None:
        time.sleep(0.01)
    reporter = Reporter(mailbox)
    write_stacks_to(mailbox.stacks)
    reporter.start_beating()
    reporter.beat(7, "forward")
    mailbox.wait("hold", alive=lambda: True, timeout_s=60)
    hold_the_interpreter()


if __name__ == "__main__":
    main(sys.argv[1])
