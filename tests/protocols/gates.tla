-------------------------------- MODULE gates --------------------------------
(* Look-ups by key beside writers: src/topics/turnstile.rs, look_up.rs and table.rs, on a           *)
(* processor with store buffers. README.md says what this abstracts. A step is what stands between  *)
(* two labels. The names of steps stand in the comments of the code, except those that begin with   *)
(* env_, which are not the code's. A Mutant breaks one step; "none" is the protocol as it is built. *)
EXTENDS Integers, Sequences, FiniteSets

CONSTANTS
    LookUps,        \* the threads that look up, again and again
    Writers,        \* the threads that write to a shard, or wait for look-ups, again and again
    Gates,          \* the gates, each with one shard behind it
    Attached,       \* the threads that have a record from the start
    MayBias,        \* whether the map may be biased, as it then is at the start
    Waits,          \* whether writers wait for look-ups (TRUE), write (FALSE), or both
    Overtakes,      \* how many look-ups may overtake a writer
    Mutant

Threads == LookUps \cup Writers
Flip(marks, which) == (marks \ which) \cup (which \ marks)
LetIn(word, gate) == "biased" \in word.bias /\ gate \notin word.claimed

(* --algorithm gates {
variables
    word = [claimed |-> {}, bias |-> IF MayBias THEN {"biased"} ELSE {}],
    slot = [t \in LookUps |-> 0],               \* the gate that a record announces
    buffer = [t \in LookUps |-> <<>>],          \* stores that only their own thread sees yet
    records = Attached,
    holder = [g \in Gates |-> 0],               \* who holds the gate's lock
    overtaken = [g \in Gates |-> 0],
    shared = [g \in Gates |-> {}],              \* who holds the lock of the shard behind it
    exclusive = [g \in Gates |-> 0],
    (* What only the invariants look at. *)
    reads = [t \in LookUps |-> 0],              \* the gate behind which a thread reads
    writes = [t \in Writers |-> 0],             \* the same of writers
    before = [t \in Writers |-> {}],            \* reads that had begun when a wait began, and go on
    early = FALSE;                              \* whether a wait has ended before those

define {
    Own(t) == IF buffer[t] = <<>> THEN slot[t] ELSE buffer[t][Len(buffer[t])]
    Behind(t, gate) == slot[t] = gate
    LookedAt == IF Mutant = "waits_for_one_record" /\ records /= {}
                THEN {CHOOSE t \in records : TRUE} ELSE records
}

macro store(value) {
    await Len(buffer[self]) < 2;
    buffer[self] := Append(buffer[self], value)
}

macro ends_reading() {
    reads[self] := 0;
    before := [t \in Writers |-> before[t] \ {self}]
}

fair process (look_up \in LookUps)
variables gate = 0, first = word;
{
env_look_up:
    with (g \in Gates) { gate := g };
first_look:
    first := word;
    if (~LetIn(word, gate) \/ Own(self) /= 0
        \/ (self \notin records /\ Mutant /= "record_pushed_late")) { goto before_lock };
announce:
    if (Mutant = "announced_by_a_store") { store(gate) }
    else { await buffer[self] = <<>>; slot[self] := gate };
second_look:
    if (LetIn(word, gate) \/ Mutant = "no_second_look"
        \/ (Mutant = "second_look_at_the_bias" /\ "biased" \in word.bias)
        \/ (Mutant = "second_look_at_the_claim" /\ gate \notin word.claimed)) {
        reads[self] := gate;
    } else { goto not_let_in };
end_look_up:
    ends_reading();
    store(0);
    goto env_look_up;
not_let_in:
    if (Mutant /= "keeps_its_announcement") { store(0) };
before_lock:
    if ("biased" \in first.bias) {
        await buffer[self] = <<>>;
        records := records \cup {self};
        goto give_way;
    } else {
        (* Is it a sample? *)
        either { await MayBias; goto begin_bias } or goto give_way;
    };
begin_bias:
    await buffer[self] = <<>>;
    if (word.bias = {} \/ (Mutant = "begins_while_it_ends" /\ "biased" \notin word.bias)) {
        word.bias := word.bias \cup {"biased"};
    };
give_way:
    if (gate \in first.claimed /\ Mutant /= "never_gives_way") {
        overtaken[gate] := IF overtaken[gate] > Overtakes THEN overtaken[gate]
                           ELSE overtaken[gate] + 1;
        if (overtaken[gate] <= Overtakes) { goto lock_shared };
    } else { goto lock_shared };
wait_for_writer:
    await buffer[self] = <<>> /\ holder[gate] = 0;
lock_shared:
    await buffer[self] = <<>> /\ exclusive[gate] = 0;
    shared[gate] := shared[gate] \cup {self};
    reads[self] := gate;
unlock_shared:
    ends_reading();
    shared[gate] := shared[gate] \ {self};
    goto env_look_up;
}

fair process (writer \in Writers)
variables behind = 0, was = word, todo = {}, waits = FALSE;
{
env_write:
    with (g \in Gates, w \in Waits) {
        behind := g;
        waits := w;
        before[self] := IF w THEN {t \in LookUps : reads[t] = g} ELSE {};
        if (~w) { goto lock_gate };
    };

(* Waits for the look-ups that have begun. *)
look_ups_end_soon:
    if ("biased" \in word.bias) {
        todo := IF Mutant = "waits_for_locks_only" THEN {} ELSE records;
    } else { goto lock_gate };
look_at_record:
    if (todo = {}) { goto try_lock }
    else with (t \in todo) {
        (* For a moment only. *)
        either { await ~Behind(t, behind); todo := todo \ {t}; goto look_at_record }
        or goto lock_gate;
    };
try_lock:
    if (Mutant = "never_tries_the_lock" \/ (shared[behind] = {} /\ exclusive[behind] = 0)) {
        early := early \/ before[self] /= {};
        before[self] := {};
        goto env_write;
    };

(* Writes, or waits by the lock. *)
lock_gate:
    await holder[behind] = 0;
    holder[behind] := self;
    overtaken[behind] := 0;
claim:
    was := word;
    if (Mutant /= "claims_after_its_wait") { word.claimed := word.claimed \cup {behind} };
    if (was.bias = {} \/ Mutant = "never_waits"
        \/ (Mutant = "waits_only_if_biased" /\ "biased" \notin was.bias)) { goto lock_exclusive }
    else {
        (* Has the bias had its number of writers? *)
        either goto end_bias or goto wait_for;
    };
end_bias:
    if ("biased" \in word.bias) {
        word.bias := Flip(word.bias, {"biased", "ending"});
        todo := IF Mutant = "ends_without_a_look" THEN {} ELSE records;
    } else { goto wait_for };
look_for_an_end:
    if (todo /= {}) with (t \in todo) {
        (* For a moment only. *)
        either {
            await IF Mutant = "looks_at_its_gate_only" THEN ~Behind(t, behind) ELSE slot[t] = 0;
            todo := todo \ {t};
            goto look_for_an_end;
        } or goto go_back;
    };
ended:
    word.bias := Flip(word.bias, {"ending"});
    goto lock_exclusive;
go_back:
    word.bias := Flip(word.bias, IF Mutant = "never_goes_back" THEN {"ending"}
                                 ELSE {"biased", "ending"});
wait_for:
    todo := LookedAt;
wait_for_record:
    if (todo /= {}) with (t \in todo) {
        await ~Behind(t, behind);
        todo := todo \ {t};
        goto wait_for_record;
    };
lock_exclusive:
    if (Mutant = "claims_after_its_wait") { word.claimed := word.claimed \cup {behind} };
    await shared[behind] = {} /\ exclusive[behind] = 0;
    exclusive[behind] := self;
    if (~waits) { writes[self] := behind };
unlock_exclusive:
    exclusive[behind] := 0;
    writes[self] := 0;
    early := early \/ before[self] /= {};
    before[self] := {};
release:
    word.claimed := word.claimed \ {behind};
unlock_gate:
    holder[behind] := 0;
    goto env_write;
}

(* A store buffer: a store of its thread becomes visible. *)
fair process (hardware \in {100 + t : t \in LookUps}) {
env_drain:
    while (TRUE) with (t = self - 100) {
        await buffer[t] /= <<>>;
        slot[t] := Head(buffer[t]);
        buffer[t] := Tail(buffer[t]);
    };
}
} *)
\* BEGIN TRANSLATION
\* END TRANSLATION

(* No look-up reads a shard beside a writer. *)
NoReadBesideAWrite == \A w \in Writers : \A t \in LookUps : writes[w] /= 0 => reads[t] /= writes[w]

(* A wait for look-ups ends after all those that had begun when it began. *)
NoWaitEndsEarly == ~early

(* G10: look-ups do not starve a writer. Checked with one writer: the lock of a gate decides *)
(* between several.                                                                           *)
WritersComeThrough == \A w \in Writers : pc[w] = "lock_gate" ~> pc[w] = "unlock_gate"

(* States that differ in nothing but variables that are set before they are read are one. *)
View == <<word, slot, buffer, records, holder, overtaken, shared, exclusive, reads, writes, before,
    early, pc,
    [t \in LookUps |-> IF pc[t] = "env_look_up" THEN <<>>
        ELSE IF pc[t] \in {"lock_shared", "unlock_shared", "end_look_up"} THEN <<gate[t]>>
        ELSE <<gate[t], first[t]>>],
    [w \in Writers |-> IF pc[w] = "env_write" THEN <<>>
        ELSE IF pc[w] \in {"look_at_record", "look_for_an_end", "wait_for_record"}
            THEN <<behind[w], waits[w], todo[w]>>
        ELSE <<behind[w], waits[w]>>]>>
=============================================================================
