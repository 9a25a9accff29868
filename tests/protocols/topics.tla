------------------------------- MODULE topics -------------------------------
(* The life of topics: src/topics/map.rs, topics/mod.rs and the counted word of snapshot/cell.rs.   *)
(* One key; each step is sequentially consistent, as it is in the code. README.md says what this    *)
(* abstracts. A step is what stands between two labels. The names of steps stand in the comments of *)
(* the code, except those that begin with env_, which are not the code's. A Mutant breaks one step; *)
(* "none" is the protocol as it is built.                                                           *)
EXTENDS Integers, FiniteSets

CONSTANTS
    Threads,        \* they do everything, again and again
    Topics,         \* how many topics can be made
    Handlers,       \* how many handlers can be registered
    Mutant

(* As in the code, but smaller: more than there are handlers, and than there are owners. *)
Owner == Handlers + 1
Ended == Owner * 8
HasMark(word) == (word \div Ended) % 2 = 1
Count(word) == word % Owner

(* --algorithm topics {
variables
    map = 0,                                    \* the topic that the key leads to
    readers = {}, writer = 0,                   \* who holds the shard: look-ups, or a writer
    made = 0,                                   \* so many topics were made
    word = [t \in 1..Topics |-> 0],             \* handlers, owners, and the mark of the end
    cell = [t \in 1..Topics |-> 0],             \* who holds the writer lock of the topic's cell
    list = [t \in 1..Topics |-> {}],            \* what a dispatch finds
    registered = 0,
    removed = {},                               \* the handlers with the flag
    (* What only the invariants look at. *)
    returned = {},                              \* the handlers whose removal has returned
    started = {};                               \* those that were started after that

macro locked_by_writer() { await writer = 0 /\ readers = {}; writer := self }
macro add(topic, what) { word[topic] := word[topic] + what }

process (thread \in Threads)
variables
    own = 0,                                    \* the topic of which this thread has an owner
    is_guard = FALSE,                           \* whether the owner is a guard's
    topic = 0, was = 0, snapshot = {}, victim = 0;
{
env_idle:
    either {
        await own = 0;
        goto find;
    } or {
        await own = 0;
        with (t \in 1..made) { topic := t };
        goto upgrade;
    } or {
        (* A guard makes an owner, whether the topic has ended or not. *)
        await own = 0;
        with (t \in 1..made) { topic := t };
        goto guard;
    } or {
        await own /= 0 /\ registered < Handlers /\ ~is_guard;
        goto register;
    } or {
        await own /= 0;
        with (h \in list[own]) { victim := h };
        goto unregister;
    } or {
        await own /= 0;
        goto remove_owner;
    } or {
        goto look_up;
    };

(* Owners. *)
find:
    await writer = 0;
    topic := map;
    if (topic = 0) { goto find_or_insert }
    else if (Mutant /= "owner_added_outside_of_the_lock") { readers := readers \cup {self} };
add_owner:
    add(topic, Owner);
    own := topic;
    readers := readers \ {self};
    goto env_idle;
find_or_insert:
    if (made = Topics) { goto env_idle }
    else {
        locked_by_writer();
        topic := IF map = 0 \/ Mutant = "inserted_without_a_second_look" THEN made + 1 ELSE map;
    };
insert:
    if (topic > made) { made := topic };
    add(topic, Owner);
    map := topic;
    own := topic;
    writer := 0;
    goto env_idle;
guard:
    add(topic, Owner);
    own := topic;
    is_guard := TRUE;
    goto env_idle;
upgrade:
    was := word[topic];
    if (HasMark(was) /\ Mutant /= "upgrade_ignores_the_mark") {
        if (Mutant = "upgrade_drops_what_it_did_not_make") { own := topic; goto remove_owner }
        else { goto env_idle };
    } else if (Mutant /= "upgrade_in_two_steps") {
        add(topic, Owner);
        own := topic;
        goto env_idle;
    };
env_upgrade_later:
    add(topic, Owner);
    own := topic;
    goto env_idle;
remove_owner:
    was := word[own];
    topic := own;
    if (Mutant = "pruned_before_its_owner_is_removed") { goto lock_to_prune }
    else if (Mutant /= "last_owner_in_two_steps") {
        add(own, -Owner);
        own := 0;
        is_guard := FALSE;
    };
env_remove_later:
    if (Mutant \in {"last_owner_in_two_steps", "pruned_before_its_owner_is_removed"} /\ own /= 0) {
        add(own, -Owner);
        own := 0;
        is_guard := FALSE;
    };
    if (was /= Owner \/ Mutant \in {"never_pruned", "pruned_before_its_owner_is_removed"}) {
        goto env_idle;
    } else if (Mutant = "decided_outside_of_the_lock") { goto end_if_idle };

(* The end of a topic. *)
lock_to_prune:
    locked_by_writer();
end_if_idle:
    was := word[topic];
    if (map /= topic \/ (was /= 0 /\ ~(Mutant = "two_counters" /\ Count(was) = 0))) {
        if (Mutant = "decided_outside_of_the_lock") { goto env_idle } else { goto unlock };
    } else if (Mutant \notin {"end_not_marked", "end_marked_later", "two_counters"}) {
        add(topic, Ended);
    };
env_end_later:
    if (Mutant = "two_counters" /\ word[topic] \div Owner /= 0) { goto unlock }
    else if (Mutant \in {"end_marked_later", "two_counters"}) { add(topic, Ended) }
    else if (Mutant = "decided_outside_of_the_lock") { locked_by_writer() };
leave_map:
    map := 0;
unlock:
    writer := 0;
    if (Mutant = "pruned_before_its_owner_is_removed") { goto env_remove_later }
    else { goto env_idle };

(* Handlers. *)
register:
    await cell[own] = 0;
    if (registered = Handlers) { goto env_idle }
    else {
        cell[own] := self;
        registered := registered + 1;
        victim := registered;
    };
count_more:
    if (Mutant = "counted_after_it_published") { list[own] := list[own] \cup {victim} }
    else { add(own, 1) };
publish_more:
    if (Mutant = "counted_after_it_published") { add(own, 1) }
    else { list[own] := list[own] \cup {victim} };
    cell[own] := 0;
    goto env_idle;
unregister:
    await cell[own] = 0;
    if (victim \notin list[own]) { goto env_idle }
    else { cell[own] := self };
publish_less:
    if (Mutant = "counted_before_it_published") { add(own, -1) }
    else { list[own] := list[own] \ {victim} };
count_less:
    if (Mutant = "counted_before_it_published") { list[own] := list[own] \ {victim} }
    else { add(own, -1) };
mark_removed:
    if (Mutant \notin {"flag_not_set", "flag_set_later"}) { removed := removed \cup {victim} };
    cell[own] := 0;
    returned := returned \cup {victim};
env_mark_later:
    if (Mutant = "flag_set_later") { removed := removed \cup {victim} };
    goto env_idle;

(* A dispatch by key. *)
look_up:
    await writer = 0;
    snapshot := IF map = 0 THEN {} ELSE list[map];
start:
    if (snapshot = {}) { goto env_idle }
    else with (h \in snapshot) {
        snapshot := snapshot \ {h};
        if (h \notin removed) { started := started \cup ({h} \cap returned) };
        goto start;
    };
}
} *)
\* BEGIN TRANSLATION
\* END TRANSLATION

(* G10: there is one topic of a key, which a handle or an upgraded reference leads to. *)
NoHandleIsOrphaned ==
    \A t \in Threads : own[t] /= 0 /\ ~is_guard[t] /\ pc[t] /= "remove_owner" => map = own[t]

(* G10: a handler's topic is the one that its key leads to. *)
NoHandlerIsLost == \A t \in 1..Topics : list[t] /= {} => map = t

(* G10: a topic goes with its last owner and its last handler. *)
TopicsGo ==
    (\A t \in Threads : pc[t] = "env_idle" /\ own[t] = 0) => map = 0 \/ list[map] /= {}

(* The count may be ahead of the list, but is never behind it. *)
CountsAreNotBehind == \A t \in 1..Topics : Count(word[t]) >= Cardinality(list[t])

(* G5 *)
NothingRemovedIsStarted == started = {}

(* States that differ in nothing but variables that are set before they are read are one. *)
View == <<map, readers, writer, made, word, cell, list, registered, removed, returned, started, pc,
    own, is_guard,
    [t \in Threads |-> IF pc[t] = "env_idle" THEN <<>>
        ELSE IF pc[t] = "start" THEN <<snapshot[t]>>
        ELSE <<topic[t], was[t], victim[t]>>]>>
=============================================================================
