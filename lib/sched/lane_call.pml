/* SPDX-License-Identifier: MIT */
/*
 * Who makes a job and who goes to sleep: one of the two sees the other.  A
 * model for Spin, which tools/spin-check runs.
 *
 * of lib/sched/lane.h: nur_lane_pushed nur_lane_push
 * of lib/sched/lane.c: places_changed_locked take_queue_locked
 * of lib/sched/lane.c: leave_queue_locked with_work await_work moved
 * of lib/sched/lane.c: nur_lane_steal look search worth_it call_if_needed
 * of lib/sched/lane.c: pop_parked_locked equip_locked gives_its_job
 * of lib/sched/lane.c: call_and_unlock nur_lane_answer found park_begins
 * of lib/sched/lane.c: called_after_all retires await_call sleep_till_called
 * of lib/sched/lane.c: may_search worker_main start_worker nur_lane_begin
 * of lib/sched/lane.c: hand_over_and_unlock pause_here nur_lane_return
 * of lib/scope/work.c: work
 * of lib/sched/deque.h: nur_deque_push nur_deque_length
 * of lib/sched/deque.c: nur_deque_steal nur_deque_hand_over pass_locked
 *
 * A step is one atomic operation, or what the holder of the lane lock does up
 * to its end, for what others read meanwhile has a copy of its own in memory:
 * each thread has a store buffer, in which jobs that it has pushed stay, and
 * nur_lane_call, which others may see late.  It is emptied by a fence of that
 * thread, by the heavy barrier, which empties those of all threads one after
 * the other, when the lane lock goes to another, or at any moment.  The light
 * barrier empties nothing.  In FENCES, as where membarrier(2) lacks, the light
 * barrier empties the own buffer, and so does the heavy one.
 *
 * Held, by assertions: L2 and L9 whenever the lane lock is let go; L1, that as many
 * hold a place as are counted; and L3, when nobody can go on: then no job lies
 * anywhere, or no place is free.  A job may never end, so what another worker
 * would have seen later is not seen too late.
 *
 * run PUSH	one thread pushes two jobs, of which the first may push a third
 * run OUTSIDE	two threads push one job each, one of them without a queue
 * run BLOCK	one place: jobs block, for a while or for ever
 * run THIEF	one that is no worker looks at jobs that it may not take
 * run IDLE	a worker that has idled for too long leaves while a job is pushed
 * run FENCES	as PUSH, without the asymmetric barrier
 *
 * bug NO_HEAVY_BARRIER PUSH assertion	who is about to sleep looks before others see that he can be called
 * bug NO_RECHECK PUSH assertion	who is about to sleep does not look again
 * bug LOOKS_FIRST PUSH assertion	who pushes looks for one to be called before it writes the job
 * bug FOUND_SILENT PUSH assertion	a searcher that finds something calls nobody for the rest, L4
 * bug NO_BARRIER_FOUND PUSH assertion	it looks before others see that one can be called
 * bug TWO_SEARCH PUSH assertion	one searches though another does, L2
 * bug CALL_FORGOTTEN PUSH assertion	a worker parks and leaves nur_lane_call as it is, L2
 * bug CALLED_TWICE PUSH assertion	who calls himself does not see that he has been called
 * bug GIVEN_SILENT OUTSIDE assertion	one who was given a job calls nobody for another that he saw
 * bug RETIRES_CALLED IDLE assertion	a worker that leaves for idleness does not see that it was called
 * bug GIVEN_SEARCHES OUTSIDE assertion	one who was given a job does not look into its queue but searches
 * bug LEFT_UNSEEN BLOCK assertion	who gives its place away calls nobody
 * bug NO_BARRIER_LEFT BLOCK assertion	it looks before others see that one can be called
 * bug KEEPS_QUEUE BLOCK assertion	who hands its place over keeps its queue
 * bug PLACE_NOT_COUNTED BLOCK assertion	who is back does not count its place, L1
 * bug THIEF_SILENT THIEF assertion	a thief that puts jobs back tells nobody, L8
 * bug NO_LIGHT_BARRIER FENCES assertion	without the asymmetric barrier the light one must be a fence
 *
 * Bounds: two workers (BLOCK: three), two places (BLOCK, THIEF: one), three
 * jobs, one of which lasts for ever, one that idles for too long.  Left out:
 * threads that are not to be had, the monitor, L6, jobs that owner and thief
 * want at a time (D2), chains.
 */

#if defined BLOCK
#define WORKERS	3
#else
#define WORKERS	2
#endif
#if defined BLOCK || defined THIEF
#define PLACES	1
#else
#define PLACES	2
#endif
#if defined OUTSIDE || defined THIEF
#define OUTSIDERS	2
#else
#define OUTSIDERS	1
#endif
#define THREADS	(WORKERS + OUTSIDERS)

/* Queues: of no thread, of the first outsider, for workers. */
#define NOBODYS		0
#define FIRST_OF_WORKERS	2
#define QUEUES	(FIRST_OF_WORKERS + WORKERS)
#define NONE	15

/* What may come yet. */
#if defined PUSH || defined BLOCK
#define CHILDREN	1
#else
#define CHILDREN	0
#endif
#ifdef IDLE
#define IDLING		1
#else
#define IDLING		0
#endif
#ifdef BLOCK
#define BLOCKS		1
#else
#define BLOCKS		0
#endif
byte for_ever = 1;		/* a job that never ends */
byte children = CHILDREN;	/* a job that pushes another */
byte blocks = BLOCKS;		/* a job that blocks */
byte idle_for_long = IDLING;	/* a worker */
byte lasting;			/* jobs that last for ever, with a place */

byte jobs[QUEUES];		/* as memory shows it */
bool unused[QUEUES];
bool thief_at[QUEUES];		/* holds the lock of the queue */
byte queue[THREADS] = NONE;	/* nur_thr.deque */
byte buffered[THREADS];		/* jobs pushed, in the store buffer */
byte into[THREADS];		/* the queue into which */

/* Under the lane lock. */
bool lane;
byte lane_last;			/* who had it last */
byte taken;			/* `active`: places, by the searcher, too */
byte workers;
bool searching;
bool call, call_shown;		/* nur_lane_call, and as others see it */
bool surplus;
/* of a worker */
bool runs[WORKERS];		/* its thread has been started */
bool parked[WORKERS], called[WORKERS], given[WORKERS], place[WORKERS];

/* ---- memory ---- */

#define FLUSH_CALL	call_shown = call
#define FLUSH(t)	jobs[into[t]] = jobs[into[t]] + buffered[t]; \
	buffered[t] = 0

active proctype memory()
{
	byte t;

end:	do
	:: atomic { call != call_shown -> FLUSH_CALL }
	:: atomic { buffered[0] > 0 -> FLUSH(0) }
	:: atomic { buffered[1] > 0 -> FLUSH(1) }
	:: atomic { buffered[2] > 0 -> FLUSH(2) }
#if THREADS > 3
	:: atomic { buffered[3] > 0 -> FLUSH(3) }
#endif
	od
}

inline fence()
{
	atomic {
		FLUSH(me);
		if
		:: lane_last == me -> FLUSH_CALL
		:: else
		fi
	}
}

#if defined NO_HEAVY_BARRIER
#define HEAVY_BEFORE_SLEEP	skip
#else
#define HEAVY_BEFORE_SLEEP	heavy_barrier()
#endif
#if defined NO_BARRIER_FOUND || defined NO_BARRIER_LEFT
#define HEAVY_BEFORE_CALL	skip
#else
#define HEAVY_BEFORE_CALL	heavy_barrier()
#endif

inline heavy_barrier()
{
	fence();
#ifndef FENCES
	FLUSH_CALL;
	k = 0;
	do
	:: k == THREADS -> break
	:: else -> atomic { FLUSH(k); k++ }
	od;
	k = 0
#endif
}

/* ---- the lane lock; L2 ---- */

inline lock_lane()
{
	atomic {
		!lane -> lane = true;
		if
		:: lane_last != me -> FLUSH_CALL
		:: else
		fi;
		lane_last = me
	}
}

#define PLACES_CHANGED	call = (taken < PLACES && !searching); \
	surplus = (taken > PLACES)

/* L9: a queue has one owner. */
#define APART(a, b)	(queue[a] == NONE || queue[a] != queue[b])
#ifdef BLOCK
#define ALL_APART	(APART(0, 1) && APART(0, 2) && APART(1, 2))
#else
#define ALL_APART	APART(0, 1)
#endif

inline unlock_lane()
{
	atomic {
		assert(ALL_APART);
		assert(call == (taken < PLACES && !searching));
		lane = false
	}
}

/* ---- queues ---- */

/* How many the thread itself sees in one. */
#define LENGTH(q)	(jobs[q] + (into[me] == (q) -> buffered[me] : 0))

inline take_queue(who)
{
	q = FIRST_OF_WORKERS;
	do
	:: unused[q] -> break
	:: else -> q++
	od;
	FLUSH(who);
	unused[q] = false;
	queue[who] = q;
	into[who] = q;
	q = 0
}

inline leave_queue()
{
	unused[queue[me]] = true;
	queue[me] = NONE
}

/* with_work(), moved(): one look after the other, in `hit`; `next_ones` in the
 * own queue do not count. */
inline look_for_work(next_ones)
{
	hit = false;
	k = 0;
	do
	:: atomic {
		if
		:: k == QUEUES -> break
		:: k < QUEUES && LENGTH(k) > (k == queue[me] -> next_ones : 0) ->
			hit = true;
			break
		:: else -> k++
		fi
	   }
	od;
	k = 0
}

/* ---- calling ---- */

#define NO_GIVER	0
#define GIVES_JOB	1	/* an outsider its only one */
#define GIVES_QUEUE	2	/* a worker its place with its queue */

/* equip_locked(), L7 */
inline equip()
{
	given[to] = (giver != NO_GIVER);
	if
	:: giver == GIVES_QUEUE ->
		FLUSH(me);
		queue[to] = queue[me];
		into[to] = queue[me];
#ifndef KEEPS_QUEUE
		queue[me] = NONE
#endif
	:: else ->
		take_queue(to);
		if
		:: giver == GIVES_JOB && LENGTH(queue[me]) > 0 ->
			FLUSH(me);
			jobs[queue[me]]--;
			jobs[queue[to]]++
		:: else
		fi
	fi
}

inline start_worker()
{
	lock_lane();
	workers++;
	unlock_lane();
	lock_lane();
	atomic {
		to = 0;
		do
		:: !runs[to] -> break
		:: else -> to++
		od;
		equip();
		runs[to] = true
	};
	unlock_lane();
	to = 0
}

/* For a place that is counted already. */
inline call_and_unlock()
{
	atomic {
		if
		:: giver == NO_GIVER -> searching = true
		:: else
		fi;
		PLACES_CHANGED;
		to = 0;
		do
		:: to == WORKERS -> break
		:: to < WORKERS && parked[to] -> break
		:: else -> to++
		od;
		if
		:: to < WORKERS ->
			parked[to] = false;
			equip();
			called[to] = true
		:: else
		fi
	};
	unlock_lane();
	if
	:: to == WORKERS -> start_worker()
	:: else -> to = 0
	fi;
	giver = NO_GIVER
}

/* Of no worker: gives_its_job(). */
#define ONLY_JOB	(me >= WORKERS && queue[me] != NONE && \
	LENGTH(queue[me]) == 1)

inline answer(may_give)
{
	lock_lane();
	if
	:: !call -> unlock_lane()
	:: else ->
		atomic {
			taken++;
			giver = (may_give && ONLY_JOB -> GIVES_JOB : NO_GIVER)
		};
		call_and_unlock()
	fi
}

/* L3, who pushes: the light barrier is none. */
inline pushed()
{
#if defined FENCES && !defined NO_LIGHT_BARRIER
	fence();
#endif
	if
	:: call_shown -> answer(true)
	:: else
	fi
}

/* L3, whose change sets nur_lane_call. */
inline call_if_needed()
{
	HEAVY_BEFORE_CALL;
	if
	:: call_shown ->
		look_for_work(0);
		if
		:: hit -> answer(false)
		:: else
		fi;
		hit = false
	:: else
	fi
}

/* ---- searching ---- */

/* The oldest half, or nothing if another thief is there; what is in the
 * buffer is the owner's yet. */
inline steal(from)
{
	atomic {
		if
		:: !thief_at[from] && jobs[from] > 0 ->
			q = (jobs[from] + 1) / 2;
			jobs[from] = jobs[from] - q;
			buffered[me] = buffered[me] + q;
			q = 0;
			hit = true
		:: else
		fi
	}
}

/* Two looks, or one if there is but one place; the first may pass over a
 * single job, if it was not called, L5. */
inline search()
{
	hit = false;
	looks = 0;
	do
	:: looks == PLACES || hit -> break
	:: else ->
		k = 0;
		do
		:: k == QUEUES || hit -> break
		:: else ->
			if
			:: LENGTH(k) == 0
			:: LENGTH(k) == 1 && !was_called && looks == 0
			:: LENGTH(k) > 0 && k == queue[me] -> hit = true
			:: LENGTH(k) > 0 && k != queue[me] -> steal(k)
			fi;
			k++
		od;
		atomic { k = 0; was_called = false; looks++ }
	od;
	looks = 0
}

/* L4 */
inline found()
{
	lock_lane();
	searching = false;
	PLACES_CHANGED;
	calls = call;
	unlock_lane();
#ifndef FOUND_SILENT
	if
	:: calls -> call_if_needed()
	:: else
	fi;
#endif
	calls = false
}

inline may_search()
{
	lock_lane();
	atomic {
#ifdef TWO_SEARCH
		searches = taken <= PLACES;
#else
		searches = !searching && taken <= PLACES;
#endif
		if
		:: searches -> assert(!searching); searching = true
		:: else
		fi;
		PLACES_CHANGED
	};
	unlock_lane()
}

/* ---- sleeping ---- */

inline park_begins()
{
	lock_lane();
	atomic {
		calls = !call;
		taken = taken - place[me];
		place[me] = false;
		called[me] = false;
		leave_queue();
		if
		:: searches -> searching = false
		:: else
		fi;
		parked[me] = true;
#ifndef CALL_FORGOTTEN
		PLACES_CHANGED;
#endif
		calls = calls && call
	};
	unlock_lane()
}

/* called_after_all(): L3; who has been given a job, L7, calls another. */
inline look_again()
{
	HEAVY_BEFORE_SLEEP;
	look_for_work(0);
	if
	:: hit ->
		lock_lane();
		atomic {
			was_given = called[me] && given[me];
			if
#ifdef CALLED_TWICE
			:: call ->
#else
			:: call && !called[me] ->
#endif
				parked[me] = false;
				called[me] = true;
				take_queue(me);
				taken++;
				searching = true;
				PLACES_CHANGED
			:: else
			fi
		};
		unlock_lane();
#ifndef GIVEN_SILENT
		if
		:: was_given ->
			look_for_work(1);
			if
			:: hit -> pushed()
			:: else
			fi
		:: else
		fi;
#endif
		atomic { hit = false; was_given = false }
	:: else
	fi
}

/* It has idled for too long: `leaves`, and its thread may be another's. */
inline retires()
{
	lock_lane();
	atomic {
		if
#ifdef RETIRES_CALLED
		:: workers > 1 ->
#else
		:: !called[me] && workers > 1 ->
#endif
			parked[me] = false;
			runs[me] = false;
			workers--;
			leaves = true
		:: else
		fi
	};
	unlock_lane()
}

/* ---- giving the place away ---- */

inline pause_here()
{
	lock_lane();
	atomic {
		was_full = taken >= PLACES;
		place[me] = false
	};
	gives = LENGTH(queue[me]) > 0;
	if
	:: taken >= PLACES && !gives && !searching -> look_for_work(0)
	:: else
	fi;
	if
	:: taken >= PLACES && (gives || hit) ->
		atomic {
			if
			:: gives -> giver = GIVES_QUEUE
			:: else -> leave_queue()
			fi
		};
		call_and_unlock()
	:: else ->
		atomic {
			leave_queue();
			taken--;
			PLACES_CHANGED;
			calls = was_full && call
		};
		unlock_lane();
#ifndef LEFT_UNSEEN
		if
		:: calls -> call_if_needed()
		:: else
		fi
#endif
	fi;
	atomic { was_full = false; gives = false; calls = false; hit = false }
}

inline lane_return()
{
	lock_lane();
	atomic {
		place[me] = true;
		if
		:: queue[me] == NONE -> take_queue(me)
		:: else
		fi;
#ifndef PLACE_NOT_COUNTED
		taken++;
#endif
		PLACES_CHANGED
	};
	unlock_lane()
}

/* ---- a worker ---- */

/* A job: it may push another, block, and never end. */
inline run_job()
{
	do
	:: true -> break
	:: atomic { children > 0 -> children--; buffered[me]++ };
	   pushed()
	:: atomic { blocks > 0 -> blocks-- };
	   pause_here();
	   if
	   :: lane_return()
	   :: never_ends = true; break
	   fi
	:: atomic { for_ever > 0 -> for_ever--; lasting++; never_ends = true };
	   break
	od
}

#define LOCALS	byte k, q, to, giver, looks; \
	bool hit, was_called, calls, searches, leaves, was_full, gives, \
	never_ends, was_given

proctype worker(byte me)
{
	LOCALS;

end:	do
	:: runs[me] ->
		atomic {
			leaves = false;
			place[me] = true;
			searches = !given[me];
			was_called = true
		};
		do
		:: if
		   :: searches -> search()
#ifdef GIVEN_SEARCHES
		   :: else -> hit = false
#else
		   :: else -> hit = given[me]
#endif
		   fi;
		   if
		   :: hit ->
			hit = false;
			if
			:: searches -> found()
			:: else
			fi;
			given[me] = false;
			do		/* work() */
			:: atomic {
				if
				:: buffered[me] > 0 -> buffered[me]--
				:: buffered[me] == 0 && jobs[queue[me]] > 0 ->
					jobs[queue[me]]--
				:: else -> break
				fi
			   };
			   run_job();
			   if
			   :: never_ends ->
end_never:			false
			   :: else
			   fi;
			   if
			   :: surplus -> break
			   :: else
			   fi
			od;
			may_search();
			was_called = false
		   :: else ->
			park_begins();
			if
#ifdef NO_RECHECK
			:: calls -> calls = false
#else
			:: calls -> calls = false; look_again()
#endif
			:: else
			fi;
end_parked:		do		/* await_call() */
			:: called[me] -> break
			:: atomic { idle_for_long > 0 -> idle_for_long-- };
				retires();
				if
				:: leaves -> break
				:: else
				fi
			od;
			if
			:: leaves -> break
			:: else
			fi;
			atomic {
				place[me] = true;
				searches = !given[me];
				was_called = true
			}
		   fi
		od
	od
}

/* ---- others ---- */

proctype outsider(byte me; byte count)
{
	LOCALS;

	do
	:: count == 0 -> break
	:: else ->
#ifdef LOOKS_FIRST
		if
		:: call_shown -> answer(true)
		:: else
		fi;
		atomic { buffered[me]++; count-- }
#else
		atomic { buffered[me]++; count-- };
		pushed()
#endif
	od
}

#ifdef THIEF
/* nur_lane_steal(): hides what it looks at until it is through. */
proctype thief(byte me)
{
	LOCALS;
	byte from, hidden_;

	select(from : 1 .. QUEUES - 1);
end:	atomic {
		jobs[from] > 0 && !thief_at[from] ->
		thief_at[from] = true;
		hidden_ = (jobs[from] + 1) / 2;
		jobs[from] = jobs[from] - hidden_
	};
	heavy_barrier();
	/* It may have none of them: pass_locked(), moved(). */
	atomic {
		into[me] = from;
		buffered[me] = hidden_;
		thief_at[from] = false
	};
#ifndef THIEF_SILENT
	look_for_work(0);
	if
	:: hit -> pushed()
	:: else
	fi
#endif
}
#endif

/* ---- the scenes ---- */

/* L3, L1: nobody can go on, and memory is as it was written. */
active proctype judge()
{
	byte k;

	timeout;
	for (k : 0 .. QUEUES - 1) {
		assert(jobs[k] == 0 || taken == PLACES)
	};
	assert(taken == lasting && !searching && !lane)
}

/* As nur_lane_begin() leaves it: the first worker searches. */
init
{
	byte k, q;

	atomic {
		for (k : FIRST_OF_WORKERS .. QUEUES - 1) {
			unused[k] = true
		};
		take_queue(0);
		taken = 1;
		workers = 1;
		searching = true;
		PLACES_CHANGED;
		call_shown = call;
		runs[0] = true;
		for (k : 0 .. WORKERS - 1) {
			run worker(k)
		};
		queue[WORKERS] = 1;
		into[WORKERS] = 1;
#if defined OUTSIDE
		run outsider(WORKERS, 1);
		run outsider(WORKERS + 1, 1)	/* without a queue */
#elif defined THIEF
		run outsider(WORKERS, 1);
		run thief(WORKERS + 1)
#elif defined IDLE
		run outsider(WORKERS, 1)
#else
		run outsider(WORKERS, 2)
#endif
	}
}
