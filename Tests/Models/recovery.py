"""Tries the rules of the recovery from the loss of the majority against all orders of events, within bounds.

Usage: python3 -m Tests.Models.recovery [--quick] [--traces] [NAME...]

recovery_logs.py and recovery_leases.py say what is modelled. Each case below is one model with its bounds. With all rules in
force no state may break a promise; with a rule made weaker a state must, and the shortest way to it is printed with
`--traces` or a NAME (the beginning of a case's title). A case that is "not needed" shows a rule that nothing here rests on,
"allowed" one that may be added. `--quick` leaves out the large ones. Exits non-zero unless each case ends as it should.

The promises, by the words that a broken one is reported with:
 - "both hold the group": no two nodes have a lease under assignments of one group, unless those called dead are alive and a
   majority by themselves; then until a lease has passed since the news left no such majority.
 - "holds a lease after the news": nor has anybody whom the news reached.
 - "drops what was committed": what a survivor had in its log when it prepared, and what was committed then or later, by
   acknowledgements that were on their way, is in the recovered log.
 - "promotes a copy that had left": no copy is promoted on the word of a set that the old majority may have changed.
 - "two histories", "two logs … differ": in one generation what is committed agrees at every place, and so do logs below an
   entry of one term.
 - "mixes two recoveries": no log holds a recovery that its generation does not stand on.
 - "overtaken by a recovery that was never committed": the news is true.
 - "no way leads on": from every state there is a way to a committed recovery, a refused plan, or somebody who can still lead.

Bounds: three voters, and five of which one is dead for good or all live; one or two groups of survivors, up to three plans;
one or two entries and one or two terms before the recovery, an entry and two more voters after it; a crash; leases of two
steps of time. The number of messages is not bounded. 1.8 million states in all, some two minutes of one core, below 1 GB.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from Tests.Models.explorer import Outcome, explore
from Tests.Models.log_states import LogBounds, LogRules
from Tests.Models.recovery_leases import LeaseBounds, LeaseModel, LeaseRules
from Tests.Models.recovery_logs import LogModel

A, B, C, D, E = 1, 2, 4, 8, 16


@dataclass
class Case:
    """One walk, and what it must find."""
    title: str
    walk: Callable[[], Outcome]
    # A part of the promise that is broken; empty where all must hold.
    finds: str = ""
    quick: bool = True


def logs(title: str, bounds: LogBounds, rules: LogRules | None = None, finds: str = "", quick: bool = True) -> Case:
    """A walk through logs. Where all must hold, a way on must be there too."""
    ways = not finds or finds == STUCK
    return Case(title, lambda: explore(LogModel(rules or LogRules(), bounds), ways=ways), finds, quick)


def leases(title: str, bounds: LeaseBounds, rules: LeaseRules | None = None, finds: str = "", quick: bool = True) -> Case:
    """A walk through leases. Where all must hold, a way on must be there too."""
    return Case(title, lambda: explore(LeaseModel(rules or LeaseRules(), bounds), ways=not finds), finds, quick)


STUCK = "no way leads on"
DROPS = "drops what was committed"
BOTH = "both hold the group"
TWO = "two histories"

# Logs. Three voters, where the operator at C is wrong about both others.
LONE = LogBounds(3, 3, ((2, A | B),), entries=1, crashes=1, terms=1)
# The same without crashes, where a second leader may follow before the recovery.
ELECTION = LogBounds(3, 3, ((2, A | B),), entries=1, terms=2, crashes=0, later=0)
ENTRIES = LogBounds(3, 3, ((2, A | B),), entries=2, terms=2, crashes=0, later=1)
# The chosen one gives both others a vote, and crashes.
GROWING = LogBounds(3, 3, ((2, A | B),), entries=0, terms=1, crashes=1, later=0, grows=2)
# Five voters, of whom E is dead indeed, A and B are not, and C and D survive.
PAIR = LogBounds(5, 4, ((2, A | B | E),), entries=2, terms=1, crashes=0, later=0, grows=0, returns=False)
CRASH = LogBounds(5, 4, ((2, A | B | E),), entries=1, terms=1, crashes=1, later=0, grows=1, returns=False)
WRITES = LogBounds(5, 4, ((2, A | B | E),), entries=0, terms=1, crashes=1, later=1, grows=1, returns=False)
LEADERS = LogBounds(5, 4, ((2, A | B | E),), entries=1, terms=2, crashes=0, later=0, grows=0, returns=False)
RETURN = LogBounds(5, 4, ((2, A | B | E),), entries=1, terms=1, crashes=0, later=0, grows=2)
# C was given two entries by a leader of term 1 that nobody else kept; B leads in term 2.
TAIL = LogBounds(5, 4, ((2, A | B | E),), entries=1, terms=1, crashes=0, later=0, grows=0, returns=False,
                 leader=1, term=2, behind=A | C, tail=((1, "leaves", 0),) * 2)
# C recovers alone, far behind; a second plan names D, which nobody told.
BEHIND = LogBounds(5, 4, ((2, A | B | D | E), (2, A | B | E)), entries=1, terms=1, crashes=1, later=0, grows=0,
                   returns=False, term=3, behind=C)
# Both sides of a cut order a recovery, of one number.
SIDES = LogBounds(5, 4, ((2, A | B | E), (1, C | D | E)), entries=1, terms=1, crashes=0, later=0, grows=1, returns=False)
# A first plan fails at B, and then A turns out to be alive.
REGRET = LogBounds(3, 2, ((1, A | C), (1, C)), entries=1, terms=1, crashes=1, later=1, grows=1, returns=False)
# Two plans fail at B and at C; then A turns out to be alive, and all three are named.
ALL_LIVE = LogBounds(3, 3, ((1, A | C), (2, A | B), (1, 0)), entries=0, terms=0, crashes=0, later=1, grows=0, returns=False)
# C recovers and is heard of; an operator at A orders a recovery after that, because C is dead now.
LATER = LogBounds(3, 3, ((2, A | B), (0, C)), entries=1, terms=1, crashes=0, later=0, grows=1)
# Operators at both survivors, one after the other or at once, and once more.
RETRIES = LogBounds(5, 4, ((2, A | B | E), (3, A | B | E), (2, A | B | E)), entries=0, terms=1, crashes=1, later=0,
                    grows=0, returns=False)

# Leases. Five voters, A owns the group; A and B are called dead and live, E is dead indeed.
MINORITY = LeaseBounds(5, 4, ((2, A | B | E, E),), override=True)
# The owner is a survivor itself.
SURVIVOR = LeaseBounds(5, 3, ((1, A | D | E, D | E),), override=True, first_owner=2)
# All three live, and the operator at C says that A and B are dead.
MAJORITY = LeaseBounds(3, 3, ((2, A | B, 0),), override=True)
MAJORITY_OF_FIVE = LeaseBounds(5, 5, ((2, A | B | E, 0),), override=True)
BOTH_SIDES = LeaseBounds(5, 4, ((2, A | B | E, E), (1, C | D | E, E)), override=True)
BOTH_SIDES_CALM = replace(BOTH_SIDES, crash=False)
SECOND = LeaseBounds(5, 4, ((2, A | B | E, E), (3, A | B | C | E, E)), override=True)
# Nobody said that groups start although it is unproven. The old side took the votes of C and D before E died.
UNPROVEN = LeaseBounds(5, 4, ((2, A | B | E, E),), old_members=A | B | E)
UNPROVEN_ALONE = LeaseBounds(5, 4, ((2, A | B | E, B | E),), old_members=A)

CASES = [
    logs("all rules: logs, three voters", LONE, quick=False),
    logs("all rules: logs, three voters, two leaders", ELECTION),
    logs("all rules: logs, three voters, two leaders, two entries and a later one", ENTRIES, quick=False),
    logs("all rules: logs, growing again", GROWING),
    logs("all rules: logs, two survivors of five", PAIR),
    logs("all rules: logs, two survivors of five, a crash", CRASH),
    logs("all rules: logs, two survivors of five, later entries", WRITES),
    logs("all rules: logs, two survivors of five, two leaders", LEADERS, quick=False),
    logs("all rules: logs, two survivors of five, a return", RETURN, quick=False),
    logs("all rules: logs, a long tail of an older term", TAIL),
    logs("all rules: logs, a second plan names whom nobody told", BEHIND, quick=False),
    logs("all rules: logs, a recovery on both sides", SIDES, quick=False),
    logs("all rules: logs, a plan that fails before a majority is found", REGRET, quick=False),
    logs("all rules: logs, plans that fail before all are found", ALL_LIVE),
    logs("all rules: logs, plans of two operators", RETRIES, quick=False),
    leases("all rules: leases, wrong about a minority", MINORITY, quick=False),
    leases("all rules: leases, a survivor is the owner", SURVIVOR),
    leases("all rules: leases, wrong about a majority", MAJORITY),
    leases("all rules: leases, a second recovery", SECOND, quick=False),
    leases("all rules: leases, a recovery on both sides", BOTH_SIDES_CALM),
    leases("all rules: leases, a recovery on both sides, and crashes", BOTH_SIDES, quick=False),
    leases("all rules: leases, wrong about a majority of five", MAJORITY_OF_FIVE, quick=False),
    leases("all rules: leases, unproven", UNPROVEN),

    leases("R1 renewals without generation", MINORITY, LeaseRules(renewals_in_generation=False), BOTH),
    logs("R1 votes and appends without generation", PAIR, LogRules(scope="none"), DROPS),
    logs("R1 the number without the id", SIDES, LogRules(scope="number"), "mixes two recoveries"),
    leases("R1 equal numbers are not ordered", BOTH_SIDES_CALM, LeaseRules(ids_are_ordered=False), "no message ends it"),
    leases("R1 overtaken, and keeps its lease", MAJORITY, LeaseRules(news_ends_lease=False), "after the news"),
    leases("R1 overtaken, and answers its old peers", MAJORITY, LeaseRules(news_silences=False), BOTH),
    leases("R1 overtaken, and forgets it in a crash", MAJORITY, LeaseRules(news_synced=False), "after the news"),
    logs("R1 returns with its log", ELECTION, LogRules(log_set_aside=False), "two logs"),
    logs("R2 compares before all have prepared", PAIR, LogRules(compare_after=False), DROPS),
    logs("R2 compares the length alone", TAIL, LogRules(compare_terms=False), DROPS),
    logs("R2 a named survivor has not prepared", PAIR, LogRules(all_prepared=False), DROPS),
    leases("R2 a named survivor has not prepared: leases", MINORITY, LeaseRules(all_prepared=False), BOTH),
    logs("R2 answers before the generation is synced", CRASH, LogRules(generation_synced=False), DROPS),
    leases("R2 answers before the generation is synced: leases", MINORITY, LeaseRules(generation_synced=False), BOTH),
    logs("R2 a survivor of another base", BEHIND, LogRules(same_base=False), "two logs of generation 2"),
    logs("R2 a coordinator goes on with its plan after a restart", CRASH, LogRules(new_plan_after_restart=False), TWO),
    logs("R2 the prepared elect a leader", ALL_LIVE, LogRules(prepared_wait=False), "two logs of generation 3"),
    logs("R2 the prepared count as a majority that lives", REGRET, LogRules(prepared_are_no_majority=False), STUCK),
    leases("R3 does not wait", MINORITY, LeaseRules(waits=0), BOTH),
    leases("R3 waits less than a lease", MINORITY, LeaseRules(waits=1), BOTH),
    leases("R3 the signed are counted in the known membership", UNPROVEN, LeaseRules(start_if="known"), BOTH),
    leases("R3 a single signed one is taken for no majority", UNPROVEN_ALONE, LeaseRules(start_if="two"), BOTH),
    logs("R4 in-sync sets are believed", LONE, LogRules(sets_void=False), "promotes a copy that had left"),
    logs("R5 sends entries before the term is synced", WRITES, LogRules(term_synced=False), "two logs"),
    logs("R5 forces until it is applied", GROWING, LogRules(force_until="applied"), TWO),
    logs("R5 forces until the log has one entry of two", CRASH, LogRules(force_until="recovered"), STUCK),
    logs("R6 news of who has only prepared", LONE, LogRules(news_when_applied=False), "never committed"),

    logs("allowed: who is overtaken recovers later, after all", LATER, LogRules(overtaken_may_recover=True), quick=False),
    leases("not needed: a survivor's lease ends as it prepares", SURVIVOR, LeaseRules(prepare_ends_lease=False)),
]


def verdict(case: Case, outcome: Outcome) -> str | None:
    """What is wrong with an outcome, if anything."""
    if outcome.unfinished:
        return "came to the limit of states"
    if case.finds:
        return None if case.finds in (outcome.broken or "") else f"found {outcome.broken or 'nothing'}"
    return f"found: {outcome.broken}" if outcome.broken else None


def main(arguments: list[str]) -> int:
    """Runs the cases, and says how each ended."""
    names = [word for word in arguments if not word.startswith("--")]
    cases = [case for case in CASES if not names or case.title.startswith(tuple(names))]
    if "--quick" in arguments:
        cases = [case for case in cases if case.quick]
    failed = states = 0
    for case in cases:
        began = time.monotonic()
        outcome = case.walk()
        states += outcome.states
        wrong = verdict(case, outcome)
        failed += wrong is not None
        found = f"found after {len(outcome.trace)} steps: {outcome.broken}" if outcome.broken else "holds"
        print(f"{'FAILED' if wrong else 'ok':6} {case.title}: {found} ({outcome.states} states, "
              f"{time.monotonic() - began:.1f} s)", flush=True)
        if wrong or (outcome.trace and (names or "--traces" in arguments)):
            print("".join(f"         {step}\n" for step in outcome.trace), end="")
    print(f"models: {len(cases) - failed} passed, {failed} failed; {states} states")
    return 0 if cases and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
