-------------------------------- MODULE lane --------------------------------
(* The fast lane of src/snapshot/lane.rs, and a change of src/snapshot/cell.rs, on a processor    *)
(* with store buffers. README.md says what this abstracts. A step is what stands between two       *)
(* labels. The names of steps stand in the comments of the code, except those that begin with      *)
(* env_, which are not the code's. A Mutant breaks one step; "none" is the protocol as it is built. *)
EXTENDS Integers, Sequences, FiniteSets

CONSTANTS
    Dispatchers,    \* the threads that dispatch, again and again
    Changers,       \* the threads that change the list, also from inside of a dispatch
    Changes,        \* how often each of them does
    Addresses,      \* where lists can be
    Slots,          \* how many slots a record has
    Depth,          \* how deep dispatches are nested
    Attached,       \* the threads that have a record from the start
    FirstMark,      \* the mark of the lane at the start
    Pending,        \* how many stores of a thread may be invisible to the others
    InOrder,        \* whether the stores of a thread become visible in their order
    MayRefuse,      \* whether the system may begin to refuse barriers
    Mutant

Threads == Dispatchers \cup Changers

(* A list, and a word of a lane. Only the invariants look at versions. *)
NoList == [at |-> 0, version |-> 0]
FirstList == [at |-> CHOOSE a \in Addresses : TRUE, version |-> 1]
Word(list, mark) ==
    [at |-> list.at, mark |-> IF list.at = 0 THEN "null" ELSE mark, version |-> list.version]
Closed == [at |-> 0, mark |-> "closed", version |-> 0]
Same(one, other) == one.at = other.at /\ (one.mark = other.mark \/ Mutant = "only_addresses")

Max(a, b) == IF a > b THEN a ELSE b

(* --algorithm lane {
variables
    lane = Word(FirstList, FirstMark),
    published = FirstList,                      \* what arc_swap holds
    heap = [a \in Addresses |-> IF a = FirstList.at THEN [refs |-> 2, version |-> 1]
                                ELSE [refs |-> 0, version |-> 0]],
    slots = [t \in Threads |-> [s \in 1..Slots |-> 0]],
    buffer = [t \in Threads |-> <<>>],          \* stores that only their own thread sees yet
    records = Attached,                         \* the chain of records
    owes = [t \in Threads |-> FALSE],
    owed = [t \in Threads |-> {}],
    writer = 0,                                 \* who holds the writer lock
    refuses = FALSE,                            \* whether the system refuses barriers
    refused = FALSE,                            \* whether that is known
    frames = [t \in Threads |-> <<>>],          \* the dispatches that are inside
    (* What only the invariants look at. *)
    seen = 1,                                   \* the latest version that a step has shown
    stale = FALSE,                              \* whether a dispatch has found an older one
    leaked = {};                                \* the versions that were leaked on purpose

define {
    (* The stores of a thread to one place that are not visible yet. Place 0 is the lane. *)
    StoresTo(t, place) == {i \in 1..Len(buffer[t]) : buffer[t][i][1] = place}
    Last(all) == CHOOSE i \in all : \A j \in all : j <= i
    (* A thread sees its own stores. *)
    Own(t, s) == IF StoresTo(t, s) = {} THEN slots[t][s] ELSE buffer[t][Last(StoresTo(t, s))][2]
    FreeSlots(t) == {s \in 1..Slots : Own(t, s) = 0 \/ Mutant = "slot_in_use"}
    FirstOf(all) == CHOOSE s \in all : \A r \in all : s <= r
    Announced(t) == {Own(t, s) : s \in 1..Slots} \ {0}
    (* The stores that may become visible next. *)
    NextStores(t) ==
        {i \in 1..Len(buffer[t]) :
            \A j \in 1..(i - 1) : ~InOrder /\ buffer[t][j][1] /= buffer[t][i][1]}
    Without(all, i) == SubSeq(all, 1, i - 1) \o SubSeq(all, i + 1, Len(all))
    HasRecord(t) == t \in records \/ (Mutant = "record_pushed_late" /\ t \in Dispatchers)
}

macro store(place, value) {
    await Len(buffer[self]) < Pending;
    buffer[self] := Append(buffer[self], <<place, value>>)
}

(* A locked instruction, or a lock, comes after all stores of its thread. *)
macro locked() { await buffer[self] = <<>> }

macro saw(list) {
    stale := stale \/ list.version < floor;
    seen := Max(seen, list.version)
}

macro enter(way, list) {
    frames[self] := Append(frames[self],
        [way |-> way, slot |-> slot, at |-> list.at, version |-> list.version]);
    saw(list)
}

macro ref(address, count) { heap[address].refs := heap[address].refs + count }

macro publish_new() { locked(); old := published; published := new }

macro close_lane() {
    closed := lane;
    if (Mutant = "closed_by_a_store") { store(0, Closed) }
    else if (Mutant /= "never_closed") { locked(); lane := Closed }
}

process (thread \in Threads)
variables
    word = Closed, again = Closed, slot = 0, slowly = FALSE, floor = 0,
    left = IF self \in Changers THEN Changes ELSE 0,
    new = NoList, old = NoList, closed = Closed,
    todo = {}, at = 0, index = 1, others = FALSE;
{
env_idle:
    either {
        await self \in Dispatchers /\ Len(frames[self]) < Depth;
        floor := seen;
        slot := 0;
        slowly := FALSE;
        (* A pin looks at arc_swap without the lane. *)
        either goto look or goto load;
    } or {
        await frames[self] /= <<>>;
        goto leave;
    } or {
        await left > 0;
        goto lock;
    };

(* A dispatch. *)
look:
    word := lane;
    if (word.mark = "null") {
        saw(word);
        goto env_idle;
    } else if (word.mark = "hot" /\ HasRecord(self) /\ 1 \in FreeSlots(self)) {
        slot := 1;
        goto announce_hot;
    };
look_slowly:
    word := lane;
    slowly := TRUE;
    if (word.at = 0 \/ ~HasRecord(self) \/ FreeSlots(self) = {}) {
        goto load;
    } else {
        slot := FirstOf(FreeSlots(self));
        if (word.mark = "hot") goto announce_hot;
    };
announce:
    if (Mutant = "announced_by_a_store") { store(slot, word.at) }
    else { locked(); slots[self][slot] := word.at };
    goto second_look;
announce_hot:
    if (Mutant = "looks_before_it_announces") { again := lane }
    else { store(slot, word.at) };
second_look:
    if (Mutant = "looks_before_it_announces" /\ word.mark = "hot") { store(slot, word.at) }
    else { again := IF Mutant = "no_second_look" THEN word ELSE lane };
    if (~Same(again, word)) { goto give_up }
    else {
        enter("lane", again);
        (* Every 128th time. *)
        either { await word.mark /= "hot" /\ ~refused; goto heat }
        or if (slowly) { goto collect_late } else { goto env_idle };
    };
give_up:
    if (Mutant /= "keeps_its_announcement") { store(slot, 0) };
    if (slowly) { goto load } else { goto look_slowly };
heat:
    (* From cold to warm, or from warm to hot; from cold to hot where all paths are explored. *)
    with (mark \in IF word.mark = "cold" THEN {"warm", "hot"} ELSE {"hot"}) {
        if (Mutant = "heated_by_a_store") { store(0, [word EXCEPT !.mark = mark]) }
        else {
            locked();
            if (Same(lane, word)) { lane.mark := mark };
        };
    };
collect_late:
    slot := 0;
    if (Mutant = "keeps_what_it_is_owed") { goto env_idle } else { goto look_owes };
load:
    (* arc_swap gives out a counted reference. *)
    slot := 0;
    if (published.at = 0) { saw(published) }
    else { enter("counted", published); ref(published.at, 1) };
    if (Mutant = "collects_only_if_let_in") { goto env_idle }
    else if (self \in records) { goto look_owes };
attach:
    locked();
    records := records \cup {self};
    goto look_owes;
leave:
    (* In any order, as stackful coroutines do. *)
    with (i \in 1..Len(frames[self]), frame = frames[self][i]) {
        frames[self] := Without(frames[self], i);
        slot := frame.slot;
        if (frame.way = "counted") { ref(frame.at, -1); goto env_idle }
        else if (Mutant = "owes_is_looked_at_first") { others := owes[self] }
        else { store(frame.slot, 0) };
    };
look_owes:
    if (Mutant = "owes_is_looked_at_first" /\ slot /= 0) {
        store(slot, 0);
        if (~others) { goto env_idle };
    } else if (~owes[self] \/ Mutant = "never_collects") { goto env_idle };
collect:
    locked();
    with (ready = IF Mutant = "collects_what_is_in_use" THEN owed[self]
                  ELSE owed[self] \ Announced(self)) {
        if (ready = {}) { goto env_idle }
        else with (a \in ready) {
            owed[self] := owed[self] \ {a};
            owes[self] := Mutant /= "owes_is_always_cleared" /\ owed[self] /= {};
            ref(a, -1);
            if (Mutant = "owes_is_always_cleared") { goto env_idle } else { goto collect };
        };
    };

(* A change. *)
lock:
    locked();
    await writer = 0;
    writer := self;
    left := left - 1;
    others := FALSE;
    with (a \in {0} \cup {b \in Addresses : heap[b].refs = 0},
          list = [at |-> a, version |-> published.version + 1]) {
        new := list;
        if (a /= 0) { heap[a] := [refs |-> 2, version |-> list.version] };
    };
close:
    if (Mutant = "closed_after_it_published") { publish_new() } else { close_lane() };
publish:
    if (Mutant = "closed_after_it_published") { close_lane() }
    else if (Mutant = "opened_before_it_published") { old := published }
    else { publish_new() };
first_barrier:
    if (closed.at = 0) { goto open }
    else if (closed.mark /= "hot") {
        if (Mutant = "handed_over_only_if_hot") { goto open } else { todo := {} };
    } else if (refuses /\ Mutant /= "refused_taken_for_passed") {
        (* Nobody knows who is inside. *)
        refused := Mutant /= "refusal_is_forgotten";
        ref(closed.at, 1);
        leaked := leaked \cup {old.version};
        goto open;
    } else {
        todo := IF refuses \/ Mutant = "no_first_barrier" THEN {} ELSE Threads \ {self};
    };
env_first_drain:
    (* One thread after the other passes a full barrier. *)
    while (todo /= {}) with (t \in todo) {
        await buffer[t] = <<>>;
        todo := todo \ {t};
    };
    todo := IF Mutant = "not_handed_to_itself" THEN records \ {self} ELSE records;
next_record:
    if (todo = {}) { if (others) { goto second_barrier } else { goto open } }
    else with (t \in todo) { todo := todo \ {t}; at := t; index := 1 };
look_at_slot:
    if (slots[at][index] /= closed.at) {
        if (index = Slots) { goto next_record }
        else { index := index + 1; goto look_at_slot };
    };
owe:
    owed[at] := owed[at] \cup {closed.at};
    ref(closed.at, 1);
    owes[at] := owes[at] \/ Mutant /= "owes_is_not_set";
    others := others \/ at /= self;
    if (Mutant = "handed_to_one") { todo := {} };
    goto next_record;
second_barrier:
    if (refuses) { refused := TRUE; goto open }
    else if (Mutant = "never_taken_back") { goto open }
    else { todo := IF Mutant = "no_second_barrier" THEN {} ELSE Threads \ {self} };
env_second_drain:
    while (todo /= {}) with (t \in todo) {
        await buffer[t] = <<>>;
        todo := todo \ {t};
    };
    todo := records;
next_owing:
    if (todo = {}) { goto open }
    else with (t \in todo) {
        todo := todo \ {t};
        at := t;
        index := 1;
        if (~owes[t]) { goto next_owing };
    };
look_at_slot_again:
    if (Mutant = "taken_back_in_use") { goto take_back }
    else if (slots[at][index] = closed.at) { goto next_owing }
    else if (index < Slots) { index := index + 1; goto look_at_slot_again };
take_back:
    if (closed.at \in owed[at]) {
        owed[at] := owed[at] \ {closed.at};
        ref(closed.at, -1);
    };
    owes[at] := Mutant /= "owes_is_always_cleared" /\ owed[at] /= {};
    goto next_owing;
open:
    if (~refused \/ new.at = 0) { store(0, Word(new, "cold")) };
release:
    if (Mutant = "opened_before_it_published") { publish_new() };
    if (old.at /= 0) { ref(old.at, -2) };
unlock:
    locked();
    writer := 0;
    seen := Max(seen, new.version);
    goto env_idle;
}

(* A store buffer: a store of its thread becomes visible. *)
process (hardware \in {100 + t : t \in Threads}) {
env_drain:
    while (TRUE) with (t = self - 100, i \in NextStores(t), place = buffer[t][i][1]) {
        if (place = 0) { lane := buffer[t][i][2] } else { slots[t][place] := buffer[t][i][2] };
        buffer[t] := Without(buffer[t], i);
    };
}

process (system = 99) {
env_refuse:
    await MayRefuse;
    refuses := TRUE;
}
} *)
\* BEGIN TRANSLATION
\* END TRANSLATION

(* No list is used after it was freed, nor is another one in its place. *)
UsedListsAreAlive ==
    \A t \in Threads : \A i \in 1..Len(frames[t]) :
        LET frame == frames[t][i] IN
            heap[frame.at].refs > 0 /\ heap[frame.at].version = frame.version

(* G12, and the part of G5 that is the lane's: a dispatch finds the list of each change that has   *)
(* ended before it began, and none that is older than what any dispatch has found before.          *)
NothingIsMissed == ~stale

Idle(t) == pc[t] = "env_idle"
(* A thread is owed nothing but what it uses, unless barriers are refused. *)
NothingIsLeftBehind ==
    writer = 0 /\ ~refused => \A t \in Threads : Idle(t) =>
        owed[t] \subseteq {frames[t][i].at : i \in 1..Len(frames[t])}

(* When nobody does anything, each list has the references that are due. *)
NothingIsLeaked ==
    (\A t \in Threads : Idle(t) /\ frames[t] = <<>>) =>
        \A a \in Addresses :
            heap[a].refs = (IF published.at = a THEN 2 ELSE 0)
                + Cardinality({t \in Threads : a \in owed[t]})
                + (IF heap[a].version \in leaked THEN 1 ELSE 0)

CountsAreCounts == \A a \in Addresses : heap[a].refs >= 0

(* What a refused barrier costs. *)
OneListIsLeaked == Cardinality(leaked) <= 1

(* States that differ in nothing but variables that are set before they are read are one. *)
Dispatching == {"look", "look_slowly", "announce", "announce_hot", "second_look", "give_up", "heat",
    "collect_late", "load", "attach", "leave", "look_owes", "collect"}
Locals(t) ==
    IF Idle(t) THEN <<left[t]>>
    ELSE IF pc[t] \in Dispatching
        THEN <<left[t], word[t], again[t], slot[t], slowly[t], floor[t], others[t]>>
    ELSE <<left[t], new[t], old[t], closed[t], todo[t], at[t], index[t], others[t]>>
View == <<lane, published, heap, slots, buffer, records, owes, owed, writer, refuses, refused,
    frames, seen, stale, leaked, pc, [t \in Threads |-> Locals(t)]>>
=============================================================================
