/* SPDX-License-Identifier: MIT */
/*
 * How a thread sleeps, is woken and ends: a model for Spin, which
 * tools/spin-check runs.
 *
 * of lib/base/thr.c: nur_park nur_unpark nur_unpark_gather nur_thr_new
 * of lib/base/thr.c: nur_thr_late_ends nur_thr_await_late nur_thr_ends
 * of lib/base/thr.h: nur_thr_late_begins
 * of lib/base/sync.c: nur_futex_wake nur_futex_gather
 * of lib/base/clock.c: nur_futex_wait
 * of lib/token/callback.c: run_first_locked call_wake_locked wake_gathered
 * of lib/token/callback.c: call_current_locked withdraw_locked
 * of lib/token/interrupt.c: nur_region_enter
 *
 * A step is one atomic operation of the code, or one call of the futex, which
 * compares the word and puts the thread to sleep at once, as the kernel does.
 * What a waker stores before the wake-up stays in its store buffer until its
 * next operation with release order, or leaves it earlier.
 *
 * Held: nobody sleeps for ever (no invalid end state); who takes a wake-up
 * sees what was written before it, and H1, H2, H4 (assertions).
 *
 * run WAKE	one wakes a thread that ends, another the record's next owner
 * run BOTH	two wake the same thread
 * run GATHER	a raise wakes two together, and calls a function that awaits one
 * run LATE	two raises call `wake` of a thread that ends
 * ltl WAKE woken	who was told wakes up
 *
 * bug SLEEPS_ONCE WAKE assertion	a sleeper takes any return from the futex for its wake-up
 * bug ONE_LOOK WAKE assertion	a thread takes any wake-up for its own, H1
 * bug LOOKS_FIRST BOTH deadlock	the waker looks whether anybody sleeps before it leaves the wake-up
 * bug NOT_COMPARED BOTH deadlock	the thread sleeps whatever the word says
 * bug RELAXED BOTH assertion	the wake-up does not publish what came before it
 * bug SILENT BOTH deadlock	the wake-up is waked, and who sleeps not woken
 * bug SILENT WAKE cycle	the same, as who was told and sleeps on
 * bug GATHERED_SLEEP GATHER deadlock	who was gathered last is not woken
 * bug FUNCTION_FIRST GATHER deadlock	a function is called while the gathered sleep
 * bug MOVES_FIRST GATHER deadlock	who sleeps is gathered before the wake-up is left
 * bug LATE_AFTER_DONE LATE deadlock	a call is counted after the thread was told to go on
 * bug NO_AWAIT LATE assertion	a thread ends while its `wake` is called
 * bug AWAIT_ONCE LATE assertion	any return from the futex ends the wait for late calls
 * bug NOT_MARKED LATE deadlock	who waits for late calls does not say so
 * bug TELLS_NOBODY LATE deadlock	the last late call does not see that it is awaited
 *
 * Bounds: two wakers or raises, one return of the futex for nothing, one
 * deadline that comes.  Left out: fork; acquire order (no load is early here).
 */

/* Which futex a thread sleeps at. */
#define AWAKE		0
#define AT_PARK		1
#define AT_GATHER	2
#define AT_LATE		3

byte at[2];		/* of each thread */
byte park[2], late;	/* of its record */
byte spurious = 1;	/* returns for nothing that may come yet */
byte early = 1;		/* deadlines that may come yet */

/* What is told with a wake-up: as memory shows it, and on its way there. */
bool told[3], buffered[3];

#define PUBLISH(i)	told[i] = (told[i] || buffered[i])

/* Compares and sleeps. */
inline futex_wait(word, expected, place)
{
	atomic {
		if
#ifdef NOT_COMPARED
		:: true -> at[me] = place
#else
		:: word == expected -> at[me] = place
		:: else			/* EAGAIN */
#endif
		fi
	}
}

#define WOKEN	(at[me] == AWAKE)
#define RETURNS	(at[me] != AWAKE && spurious > 0) -> spurious--; \
	at[me] = AWAKE

inline futex_wake(t, place)
{
	atomic {
		if
		:: at[t] == place -> at[t] = AWAKE
		:: else
		fi
	}
}

inline futex_gather(t)
{
	atomic {
		if
		:: at[t] == AT_PARK -> at[t] = AT_GATHER
		:: else
		fi
	}
}

/* Whose wake-up has been left in a record. */
bool waked[3];

/* Who takes one sees what was written before it. */
#define ALL_TOLD	((!waked[0] || told[0]) && (!waked[1] || told[1]) && \
	(!waked[2] || told[2]))

/* `timed_out`: ETIMEDOUT. */
inline nur_park()
{
	do
	:: atomic {
		before = park[me];
		park[me] = 0;
		if
		:: before != 0 ->
			assert(ALL_TOLD);
			timed_out = false;
			break
		:: else
		fi
	   }
	   futex_wait(park[me], 0, AT_PARK);
	   if
	   :: WOKEN -> came = false
	   :: atomic { RETURNS; came = false }
	   :: atomic {
		at[me] != AWAKE && early > 0 ->
		early--;
		at[me] = AWAKE;
		came = true
	      }
	   fi;
#ifdef SLEEPS_ONCE
	   timed_out = came;
	   break
#else
	   if
	   :: came ->
		atomic {
			before = park[me];
			park[me] = 0;
			timed_out = (before == 0)
		}
		break
	   :: else
	   fi
#endif
	od
}

/* A store, which may leave the buffer at once. */
inline write(i)
{
	buffered[i] = true;
	if
	:: PUBLISH(i)
	:: skip
	fi
}

/* The exchange of nur_unpark() and nur_unpark_gather(). */
inline leave_wake_up(t, i)
{
	atomic {
#ifndef RELAXED
		PUBLISH(i);
#endif
		before = park[t];
		park[t] = 1;
		waked[i] = true
	}
}

inline nur_unpark(t, i)
{
#ifdef LOOKS_FIRST
	before = (at[t] == AT_PARK -> 0 : 1);
	atomic { PUBLISH(i); park[t] = 1; waked[i] = true };
#else
	leave_wake_up(t, i);
#endif
#ifndef SILENT
	if
	:: before == 0 -> futex_wake(t, AT_PARK)
	:: else
	fi;
#endif
	PUBLISH(i)
}

/* As all use nur_park(): a wake-up says that there may be something. */
inline await(i)
{
	do
	:: told[i] -> break
	:: else ->
		nur_park();
		assert(timed_out || waked[0] || waked[1] || waked[2]);
#ifdef ONE_LOOK
		assert(timed_out || told[i])
#endif
	od
}

#if defined WAKE || defined BOTH
bool known[2];		/* to the waker: whose record it is */
bool got[2];

proctype waker(byte i)
{
	byte before;

	known[i];
	write(i);
	nur_unpark(0, i)
}

/* In WAKE the record goes, and is made anew for another one. */
inline end_and_begin()
{
#ifdef WAKE
	park[0] = 0;
#endif
	known[1] = true
}

proctype owner()
{
	byte me = 0, before, i;
	bool came, timed_out;

	known[0] = true;
#ifdef BOTH
	known[1] = true;
#endif
	do
	:: await(i);
	   got[i] = true;
	   if
	   :: i == 0 -> end_and_begin(); i = 1
	   :: else -> break
	   fi
	od
}

init
{
	atomic {
		run owner();
		run waker(0);
		run waker(1)
	}
}
#endif

#ifdef WAKE
ltl woken { [] ((told[0] -> <> got[0]) && (told[1] -> <> got[1])) }
#endif

#ifdef GATHER
/* ---- nur_callbacks_run(): 0 and 1 are gathered; 2 wakes 0 by itself ---- */

bool got[3];

inline nur_unpark_gather(t)
{
#ifdef MOVES_FIRST
	futex_gather(t);
	leave_wake_up(t, t);
#else
	leave_wake_up(t, t);
	if
	:: before == 0 -> futex_gather(t)
	:: else
	fi;
#endif
	PUBLISH(t)
}

inline wake_gathered()
{
	futex_wake(0, AT_GATHER);
	futex_wake(1, AT_GATHER)
}

/* Three callbacks: a function, second or last, and 0 and 1 to be woken. */
proctype raiser()
{
	byte before, k, which, function;

	select(function : 1 .. 2);
	do
	:: which > 2 -> break
	:: which == function ->		/* call_current_locked() */
#ifndef FUNCTION_FIRST
		wake_gathered();
#endif
		got[0];
		which++
	:: else ->
		write(k);
		nur_unpark_gather(k);
		k++;
		which++
	od;
#ifndef GATHERED_SLEEP
	wake_gathered()
#endif
}

proctype waker()
{
	byte before;

	write(2);
	nur_unpark(0, 2)
}

proctype sleeper(byte me)
{
	byte before, i = me;
	bool came, timed_out;

	do
	:: await(i);
	   got[i] = true;
	   if
	   :: i == 0 -> i = 2
	   :: else -> break
	   fi
	od
}

init
{
	atomic {
		run raiser();
		run waker();
		run sleeper(0);
		run sleeper(1)
	}
}

#endif

#ifdef LATE
/*
 * ---- H4: 0 polls for what two raises tell; it ends, or goes on ----
 *
 * Its callbacks are registered one after the other; a raise takes one that it
 * finds and calls `wake`, which writes to a descriptor of the record.
 */
#define AWAITED	128

/* Of a callback. */
#define NONE	0
#define QUEUED	1
#define DONE	2

byte state[2];
bool level[2];		/* of the tokens */
bool lock;		/* the callback lock */
bool wake;		/* nur_thr.wake is set */
bool rang;		/* the descriptor is readable */
byte life;		/* of the record: whose it is; odd: nobody's */
byte calls;		/* of wake, under way */
byte events = 1;	/* that end a poll and come from elsewhere */

inline take_lock()
{
	atomic { !lock -> lock = true }
}

inline late_begins()
{
	late++
}

inline late_ends()
{
	atomic { before = late; late-- };
	if
#ifdef TELLS_NOBODY
	:: before == 1 -> futex_wake(0, AT_LATE)
#else
	:: before == AWAITED + 1 -> futex_wake(0, AT_LATE)
#endif
	:: else
	fi
}

/* run_first_locked(), call_wake_locked() */
proctype raiser(byte i)
{
	byte before, whose;

	level[i] = true;
	take_lock();
	if
	:: state[i] == QUEUED ->
		assert(wake);
		whose = life;
#ifdef LATE_AFTER_DONE
		state[i] = DONE;
		late_begins();
#else
		late_begins();
		state[i] = DONE;
#endif
		lock = false;
		calls++;
		atomic { assert(life == whose); rang = true };
		calls--;
		late_ends()
	:: else -> lock = false
	fi
}

inline await_late()
{
	before = late;
	if
	:: before == 0
	:: else ->
#ifndef NOT_MARKED
		late = late + AWAITED;
#endif
		do
		:: before = late;
		   if
#ifdef NOT_MARKED
		   :: before == 0 -> break
#else
		   :: before == AWAITED -> break
#endif
		   :: else -> futex_wait(late, before, AT_LATE)
		   fi;
		   if
		   :: WOKEN
		   :: atomic { RETURNS }
		   fi;
#ifdef AWAIT_ONCE
		   break
#endif
		od;
		atomic { assert(late == before); late = 0 }
	fi;
	assert(calls == 0)
}

/* poll_with_wake(): until rung, or something else happens. */
inline poll(i)
{
	wake = true;
	take_lock();
	if
	:: level[i] -> skip
	:: else -> state[i] = QUEUED
	fi;
	lock = false;
	if
	:: level[i] || rang
	:: atomic { events > 0 -> events-- }
	fi;
	if			/* nursery_callback_remove() */
	:: state[i] == QUEUED ->
		take_lock();
		state[i] = NONE;
		lock = false
	:: else
	fi;
	wake = false
}

proctype owner()
{
	byte me = 0, before, i;

	do
	:: i == 2 -> break
	:: else ->
		poll(i);
		if
		:: i == 0	/* polls again */
		:: true ->
#ifndef NO_AWAIT
			await_late();
#endif
			if
			:: i == 0	/* nur_region_enter() */
			:: true ->	/* nur_thr_ends(), nur_thr_new() */
				life++;
				late = 0;
				life++
			fi
		fi;
		i++
	od
}

init
{
	atomic {
		run owner();
		run raiser(0);
		run raiser(1)
	}
}
#endif
