"""What a state of the model of logs is made of (recovery_logs.py), its rules and its bounds."""

from dataclasses import dataclass
from typing import NamedTuple

FOLLOWER, CANDIDATE, LEADER = 0, 1, 2
# An entry: its term, what it is, and of what (a plan, or the set of voters as bits).
Entry = tuple[int, str, int]
Log = tuple[Entry, ...]


class Node(NamedTuple):
    """One voter."""
    # The plan whose generation it is in; 0 is the one before all plans.
    generation: int
    overtaken: bool
    term: int
    # The node that has its vote of this term, or -1.
    vote: int
    role: int
    log: Log
    # How many entries of the log survive a crash.
    synced: int
    # Leads by order of the plan, without votes; memory only.
    forced: bool
    # Has applied `recovered`; memory only.
    applied: bool
    # What a crash takes it back to, where a weaker rule did not sync it: -1 is nothing.
    former_generation: int
    former_term: int


IDLE, PREPARING, FORCING, OVER = 0, 1, 2, 3


class Plan(NamedTuple):
    """One attempt of an operator at a recovery."""
    phase: int
    number: int
    # The last plan that had recovered in the coordinator's log.
    base: int
    chosen: int


class State(NamedTuple):
    """Everything."""
    nodes: tuple[Node, ...]
    plans: tuple[Plan, ...]
    # (scope, term, voter, candidate); a scope is what messages are told apart by, the generation.
    votes: frozenset[tuple[int, int, int, int]]
    # What a leader has sent: (scope, term, leader, its log).
    sent: frozenset[tuple[int, int, int, Log]]
    # (scope, term, node): up to which index it said to have the leader's log.
    acknowledged: frozenset[tuple[int, int, int, int]]
    # (plan, node, its last term, its last index) as answered to the coordinator.
    answers: frozenset[tuple[int, int, int, int]]
    # Watched, not known to anybody: what each generation committed, and the log of each survivor as it prepared.
    history: tuple[Log, ...]
    prepared: frozenset[tuple[int, Log]]
    crashes: int


@dataclass(frozen=True)
class LogRules:
    """The rules; each can be weakened."""
    # Consensus takes only what carries exactly its own generation; "number": the same number is enough; "none": all is taken.
    scope: str = "exact"
    # Logs are compared after all survivors have prepared.
    compare_after: bool = True
    # By (term, index), not by the index alone.
    compare_terms: bool = True
    # A survivor syncs the generation before it answers.
    generation_synced: bool = True
    # The chosen node syncs term and vote before it sends entries.
    term_synced: bool = True
    # All survivors that the plan names must have prepared.
    all_prepared: bool = True
    # An order to force is refused once the log holds: "both" entries, "recovered" alone, or the state has "applied" it.
    force_until: str = "both"
    # Only who has applied a recovery sends news of it.
    news_when_applied: bool = True
    # Between two recoveries of one number the greater id is the newer one.
    ids_are_ordered: bool = True
    # A node that returns sets its log aside.
    log_set_aside: bool = True
    # In-sync sets of the time before are not believed.
    sets_void: bool = True
    # Who has prepared neither campaigns nor votes before its log holds both entries.
    prepared_wait: bool = True
    # Refused as "a majority lives" is only what could still lead: survivors that have not left the generation.
    prepared_are_no_majority: bool = True
    # A survivor takes a plan if its log stands on the same recovery; else any lower number.
    same_base: bool = True
    # Who is overtaken may take part in a later plan that stands on its own log, with a number above all it heard of.
    overtaken_may_recover: bool = False
    # A coordinator that restarted draws a new generation; else it goes on with the old plan.
    new_plan_after_restart: bool = True


@dataclass(frozen=True)
class LogBounds:
    """What is walked through: bits name nodes."""
    voters: int
    # How many of the voters act at all; the others died before it began.
    alive: int
    # Coordinator and dead of each plan.
    plans: tuple[tuple[int, int], ...]
    # How long the log gets before the recovery, the greatest term of an ordinary election, and how many crashes there are.
    entries: int = 2
    terms: int = 2
    crashes: int = 1
    # What is done after the recovery: other entries, more voters, return of who was overtaken.
    later: int = 1
    grows: int = 1
    returns: bool = True
    # Who leads at the beginning, in which term; who is still in term 1 then, and the log of those.
    leader: int = 0
    term: int = 1
    behind: int = 0
    tail: Log = ()


def members(log: Log, everyone: int) -> int:
    """The voters of the last membership in a log."""
    for _, kind, detail in reversed(log):
        if kind == "members":
            return detail
    return everyone


def last_recovered(log: Log) -> int:
    """The last plan that recovered in a log."""
    return next((detail for _, kind, detail in reversed(log) if kind == "recovered"), 0)


def common(left: Log, right: Log) -> int:
    """How many entries two logs begin with alike."""
    count = 0
    for one, other in zip(left, right):
        if one != other:
            break
        count += 1
    return count


def is_majority(some: int, of: int) -> bool:
    """Whether a set is more than half of another."""
    return (some & of).bit_count() * 2 > of.bit_count()


def has_both(log: Log, plan: int) -> bool:
    """Whether a log holds `recovered` of a plan and a membership behind it."""
    found = False
    for _, kind, detail in log:
        if kind == "recovered" and detail == plan:
            found = True
        elif kind == "members" and found:
            return True
    return False
