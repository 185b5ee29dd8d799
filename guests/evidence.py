"""What is written down of machines before they are ended: their journals, and what the cluster says happened."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .lab.channel import Gone

if TYPE_CHECKING:
    from .lab.rig import Rig

QUESTIONS = {
    "journal": "journalctl -b -1 -o short-precise --no-pager -n 4000 2>/dev/null; echo; echo '-- this boot'; "
               "journalctl -b -o short-precise --no-pager -n 8000",
    "status": "timeout 20 holdfast status -v; echo; timeout 20 holdfast events --limit 500",
    "state": "ip address; echo; findmnt; echo; losetup -l; echo; ps axo pid,ppid,stat,cls,ni,etime,args; echo; cat /proc/loadavg; "
             "echo; for file in $(find /run/holdfast -name '*.log'); do echo \"== $file\"; tail -200 $file; done",
}
SECONDS = 60  # for each answer


def collect(rig: Rig, name: str) -> None:
    """Asks every machine that still answers; the files NAME-NODE.* lie beside its console."""
    for guest in rig.guests.values():
        for kind, question in QUESTIONS.items():
            if not guest.is_on:
                continue
            try:
                text = guest.run(question, seconds=SECONDS, check=False).stdout
            except (Gone, TimeoutError, OSError) as error:
                text = f"{error}\n"
            with open(os.path.join(rig.directory, f"{name}-{guest.name}.{kind}"), "w") as file:
                file.write(text)
