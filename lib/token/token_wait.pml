/* SPDX-License-Identifier: MIT */
/*
 * A thread asks to be told of a token's level while others raise it: a model
 * for Spin, which tools/spin-check runs.
 *
 * of lib/token/wait.c: park_until
 * of lib/token/callback.c: arm hook_for hook_at_hand empty_locked empty_hooks
 * of lib/token/callback.c: nur_token_tell tell_quickly tell_slowly unhook
 * of lib/token/callback.c: withdraw_locked remove_slowly remove_callback
 * of lib/token/callback.c: await_finish_and_unlock nur_callbacks_run
 * of lib/token/callback.c: nur_callbacks_collect_locked run_first_locked
 * of lib/token/callback.c: call_current_locked call_wake_locked
 * of lib/token/raise.c: nur_token_raise nur_write_records_locked
 *
 * A step is one atomic operation of the code; what happens under the callback
 * lock is one, too, as nobody looks at it without.  Store buffers: a level that
 * was set is invisible to who takes no lock, and what is armed to all, until a
 * fence of who wrote it, the heavy barrier, which empties the buffers of all
 * threads one after the other, a store with release order that the reader has
 * seen, the lock going to another, or any later moment.
 *
 * Held: C1 to C3, C5, K1 to K3, of C4 that the storage is touched no more
 * (assertions); who waits for a level that is reached sleeps no longer (no
 * invalid end state).
 *
 * run WAIT	two wait, perhaps till a deadline, while two raise
 * run ALONE	one waits
 * run FUNCTION	one registers a function, removes it and registers it again
 * ltl ALONE returns	who waits for a level that is reached returns
 *
 * bug NO_FENCE_ARMING ALONE assertion	a waiter looks at the level before it is seen armed
 * bug NO_FENCE_RAISING ALONE deadlock	a raise looks at hooks before its level is seen
 * bug NO_SECOND_LOOK ALONE deadlock	who has armed its hook does not look at the level again
 * bug HOOK_LOST ALONE deadlock	what is armed for a higher level is forgotten with its hook
 * bug HOOK_LOST ALONE cycle	the same, as who waits and does not return
 * bug DONE_AFTER_WAKE ALONE assertion	the storage is touched after the wake-up, C4
 * bug LEFT_BEHIND ALONE assertion	a waiter whose deadline came leaves its callback behind
 * bug FIRST_ONLY WAIT deadlock	a raise that finds two hooks empties one
 * bug OLD_LEVEL FUNCTION assertion	who registers slowly goes by the level that there was before the locks
 * bug NO_HEAVY_BARRIER FUNCTION assertion	a raise looks at functions in hooks before its level is seen
 * bug LOOKS_FIRST FUNCTION assertion	who registers a function looks at the level before it arms its hook
 * bug UNHOOK_BLINDLY FUNCTION assertion	a callback leaves its hook whether or not a raise has it
 * bug REMOVE_AT_ONCE FUNCTION assertion	remove returns while the function runs, C2
 * bug TICKET_TOO_LATE FUNCTION deadlock	who awaits the end of a function takes its ticket without the lock
 * bug RUNNER_TOUCHES FUNCTION assertion	the runner says DONE though the callback was removed, C3
 * bug STORAGE_TELLS FUNCTION assertion	who registers asks its storage whether a raise has it, C5
 *
 * Bounds: two raises, one deadline.  Left out: hooks for several tokens, views,
 * callbacks that register others; park.pml has the wake-up itself.
 */

#define LIVE	0
#define DRAIN	1
#define CANCEL	2

/* The threads are the actors 0 and 1, the raises 2 and 3. */
#ifdef WAIT
#define THREADS	2
#else
#define THREADS	1
#endif
#define NOBODY	4

byte level;		/* of the token, as who has the tree lock sees it */
byte shown;		/* the same, as others do */
bool tree;		/* the lock */
byte tree_last;		/* who had it last */

/* enum nur_cb_state */
#define NONE		0
#define HOOKED		1
#define REGISTERED	2
#define QUEUED		3
#define RUNNING		4
#define DONE		5

/* Of a thread's callback, whose storage is there while `valid`. */
byte state[THREADS], wants[THREADS];
byte run_of[THREADS];	/* QUEUED, RUNNING: the actor whose run has it */
bool valid[THREADS];
bool own_end[THREADS];	/* fn removes its callback itself */
byte ran[THREADS];	/* how often, since it was registered */

/* Of a thread's hook: the list that it is in; what is armed, as the thread
 * has it and as memory has. */
#define IN_NONE		0
#define IN_TOKEN	1
#define IN_RUN(actor)	(2 + (actor))
byte hook_in[THREADS];
bool armed[THREADS], armed_shown[THREADS];

byte current[4] = NOBODY;	/* nur_run.current */
byte finished;
bool asleep[THREADS];		/* at `finished` */
bool parked[THREADS];		/* nur_thr.park: a wake-up waits */
byte early = 1;			/* deadlines that may come yet */
bool returned[THREADS];

/* ---- memory ---- */

#define FLUSH_LEVEL	shown = level
#define FLUSH_ARMED(t)	armed_shown[t] = armed[t]

active proctype memory()
{
end:	do
	:: shown != level -> FLUSH_LEVEL
	:: armed[0] != armed_shown[0] -> FLUSH_ARMED(0)
#ifdef WAIT
	:: armed[1] != armed_shown[1] -> FLUSH_ARMED(1)
#endif
	od
}

/* The lock goes to another: what the last one wrote is seen. */
inline lock_tree()
{
	atomic {
		!tree -> tree = true;
		if
		:: tree_last != me -> FLUSH_LEVEL
		:: else
		fi;
		tree_last = me
	}
}

/* What the actor wrote before leaves its buffer, if it is there still. */
inline flush_mine()
{
	if
	:: tree_last == me -> FLUSH_LEVEL
	:: else
	fi
}

/* Under the locks. */
inline disarm(whose)
{
	armed[whose] = false;
	armed_shown[whose] = false
}

/* ---- nur_callbacks_run() ---- */

#define MINE(t)	(state[t] == QUEUED && run_of[t] == me)
#ifdef WAIT
#define ANY_MINE	(MINE(0) || MINE(1))
#define FIRST_MINE	(MINE(0) -> 0 : 1)
#else
#define ANY_MINE	MINE(0)
#define FIRST_MINE	0
#endif

#ifdef FUNCTION
/* fn may remove its own callback, and then the storage may go. */
inline run_all()
{
	do
	:: atomic {
		ANY_MINE ->
		w = FIRST_MINE;
		assert(valid[w]);
		state[w] = RUNNING;
		current[me] = w
	   };
	   atomic {
		assert(valid[w] && state[w] == RUNNING && ran[w] == 0);
		ran[w]++;
		if
		:: own_end[w] ->
			current[me] = NOBODY;
			state[w] = NONE;
			valid[w] = false
		:: else
		fi
	   };
	   atomic {
		if
#ifdef RUNNER_TOUCHES
		:: true ->
#else
		:: current[me] != NOBODY ->
#endif
			assert(valid[w]);
			state[w] = DONE;
			current[me] = NOBODY
		:: else
		fi;
		finished++;
		for (w : 0 .. THREADS - 1) {
			asleep[w] = false
		};
		w = 0
	   }
	:: else -> break
	od
}
#else
/* nur_unpark() has release order. */
inline run_all()
{
	do
	:: atomic {
		ANY_MINE ->
		w = FIRST_MINE;
#ifndef DONE_AFTER_WAKE
		assert(valid[w]);
		state[w] = DONE
#endif
	   };
	   atomic { flush_mine(); parked[w] = true };
#ifdef DONE_AFTER_WAKE
	   atomic { assert(valid[w]); state[w] = DONE };
#endif
	   w = 0
	:: else -> break
	od
}
#endif

/* ---- a raise ---- */

/* K3: what the level tells, and all hooks. */
inline collect()
{
	for (k : 0 .. THREADS - 1) {
		if
		:: hook_in[k] == IN_TOKEN ->
			hook_in[k] = IN_RUN(me);
			hooked = true
		:: else
		fi;
		if
		:: state[k] == REGISTERED && wants[k] <= to ->
			state[k] = QUEUED;
			run_of[k] = me
		:: else
		fi
	};
	k = 0
}

/* empty_locked(), for all that are in the run */
inline empty_hooks()
{
	for (k : 0 .. THREADS - 1) {
		if
		:: hook_in[k] == IN_RUN(me) ->
			hook_in[k] = IN_NONE;
			if
			:: armed_shown[k] ->
				assert(valid[k] && state[k] == HOOKED);
				disarm(k);
				run_of[k] = me;
#ifdef HOOK_LOST
				state[k] = (wants[k] <= level -> QUEUED :
				    NONE)
#else
				state[k] = (wants[k] <= level -> QUEUED :
				    REGISTERED)
#endif
			:: else
			fi;
#ifdef FIRST_ONLY
			break
#endif
		:: else
		fi
	};
	k = 0
}

/* K2: for hooks of waits a fence will do. */
inline barrier()
{
#ifdef FUNCTION
#ifndef NO_HEAVY_BARRIER
	FLUSH_LEVEL;
	for (k : 0 .. THREADS - 1) {
		FLUSH_ARMED(k)
	};
	k = 0
#else
	skip
#endif
#else
#ifndef NO_FENCE_RAISING
	atomic { flush_mine() }
#else
	skip
#endif
#endif
}

proctype raiser(byte me; byte to)
{
	bool hooked;
	byte w, k;

	lock_tree();
	if
	:: level >= to -> tree = false
	:: else ->
		level = to;
		atomic { collect(); tree = false };
		if
		:: hooked ->
			barrier();
			lock_tree();
			atomic { empty_hooks(); tree = false }
		:: else
		fi;
		run_all()
	fi
}

/* ---- a thread ---- */

/* A hook of waits has a full fence, one of functions the light barrier, which
 * keeps nothing in the buffer from staying there. */
inline arm(what)
{
	armed[me] = what;
#if !defined FUNCTION && !defined NO_FENCE_ARMING
	FLUSH_ARMED(me)
#endif
}

/* The level may have been reached: under the locks it is known.  C5: what is
 * armed no more a raise has taken over, unless there was no hook. */
inline tell_slowly()
{
	known = shown;
	lock_tree();
	atomic {
#ifndef OLD_LEVEL
		known = level;
#endif
		if
#ifdef STORAGE_TELLS
		:: state[me] > HOOKED
#else
		:: hooked && !armed[me]
#endif
		:: else ->
			assert(valid[me]);
			disarm(me);
			run_of[me] = me;
			state[me] = (wants[me] <= known -> QUEUED : REGISTERED)
		fi;
		known = 0;
		hooked = false;
		tree = false
	};
	run_all()
}

/* nur_token_tell(), into storage that nobody knows. */
inline token_tell()
{
	if
	:: hook_in[me] != IN_TOKEN && shown == LIVE ->	/* hook_for() */
		lock_tree();
		atomic {
			if
			:: hook_in[me] == IN_NONE && level == LIVE ->
				hook_in[me] = IN_TOKEN
			:: else
			fi;
			tree = false
		}
	:: else
	fi;
	atomic {
		valid[me] = true;
		state[me] = NONE;
		ran[me] = 0;
		hooked = (hook_in[me] == IN_TOKEN)
	};
	if
	:: hooked ->				/* tell_quickly() */
		state[me] = HOOKED;
#ifdef LOOKS_FIRST
		quick = (shown == LIVE);
		arm(true)
#else
		arm(true);
		quick = (shown == LIVE)
#endif
#ifdef NO_SECOND_LOOK
		; quick = true
#endif
	:: else
	fi;
	if
	:: atomic { quick -> quick = false; hooked = false }
	:: else -> tell_slowly()
	fi
}

/* Both locks held. */
inline withdraw()
{
	if
	:: state[me] == HOOKED -> disarm(me)
	:: else
	fi;
	state[me] = NONE
}

#ifdef FUNCTION
/* await_finish_and_unlock(): the ticket is taken under the callback lock. */
inline remove_slowly()
{
	do
	:: lock_tree();
	   atomic {
		if
#ifdef REMOVE_AT_ONCE
		:: true ->
#else
		:: state[me] != RUNNING ->
#endif
			withdraw();
			tree = false;
			break
		:: else ->
			tree = false;
			seen = finished
		fi
	   };
#ifdef TICKET_TOO_LATE
	   seen = finished;
#endif
	   atomic {
		if
		:: finished == seen -> asleep[me] = true
		:: else
		fi;
		seen = 0
	   };
	   !asleep[me]
	od
}
#else
/* A wait's callback is never RUNNING. */
inline remove_slowly()
{
	lock_tree();
	atomic { withdraw(); tree = false }
}
#endif

inline callback_remove()
{
	if
	:: state[me] == HOOKED ->		/* unhook() */
		arm(false);
#ifdef UNHOOK_BLINDLY
		quick = true
#else
		quick = (shown == LIVE)
#endif
	:: else
	fi;
	if
	:: atomic {
		quick || state[me] == NONE || state[me] == DONE ->
		state[me] = NONE
	   }
	:: else -> remove_slowly()
	fi;
	atomic { quick = false; valid[me] = false }
}

#ifndef FUNCTION
/* nursery_token_wait_level(), again when it was too early */
proctype waiter(byte me; byte to)
{
	bool came, hooked, quick;
	byte w, known;

	wants[me] = to;
	do
	:: shown >= to -> break
	:: else ->
		token_tell();
		do
		:: shown >= to || came -> break
		:: else ->
			if
			:: atomic { parked[me] -> parked[me] = false }
			:: atomic { early > 0 -> early--; came = true }
			fi
		od;
		came = false;
#ifdef LEFT_BEHIND
		valid[me] = false
#else
		callback_remove()
#endif
	od;
	returned[me] = true
}

init
{
	atomic {
		run waiter(0, CANCEL);
#ifdef WAIT
		run waiter(1, DRAIN);
#endif
		run raiser(2, DRAIN);
		run raiser(3, CANCEL)
	}
}
#else
/* Twice with the same storage; the second time the callback stays. */
proctype user(byte me; byte to)
{
	bool hooked, quick;
	byte w, known, seen, k;

	wants[me] = to;
	do
	:: token_tell();
	   if
	   :: k == 1 -> break
	   :: else -> callback_remove()
	   fi;
	   if
	   :: own_end[me] = true
	   :: skip
	   fi;
	   k++
	od
}

/* Each that is registered, and not removed, runs once. */
init
{
	atomic {
		run user(0, CANCEL);
		run raiser(2, DRAIN);
		run raiser(3, CANCEL)
	};
	_nr_pr == 2 -> assert(ran[0] == 1)
}
#endif

#ifdef ALONE
ltl returns { [] (level == CANCEL -> <> returned[0]) }
#endif
