/* SPDX-License-Identifier: MIT */
/*
 * The word of a token and the tree: levels that rise while children are made,
 * tokens leave and others raise.  A model for Spin, which tools/spin-check
 * runs.
 *
 * of lib/token/token.h: nur_token_level nur_token_set_word nur_token_hears
 * of lib/token/token.h: nur_token_share_locked
 * of lib/token/token.c: make nursery_token_unref last_handle_went release
 * of lib/token/token.c: never_shared nursery_token_cause
 * of lib/token/tree.c: nur_token_link_locked unlink_locked replace_locked
 * of lib/token/tree.c: move_cursors_locked bequeath_locked heard_as may_go
 * of lib/token/tree.c: tells_something explains_something settle_one_locked
 * of lib/token/tree.c: nur_token_settle_locked nur_origin_locked
 * of lib/token/raise.c: nur_token_raise nur_write_records_locked tell_locked
 * of lib/token/raise.c: nur_spread_and_unlock walk_locked tell_kids_locked
 * of lib/token/raise.c: let_others_in push_locked unlist_walk_locked
 * of lib/token/raise.c: await_walks_locked meets_locked
 * of lib/token/vacant.h: nur_vacant_take nur_vacant_give
 * of lib/token/vacant.c: nur_vacant_search nur_vacant_release
 * of lib/token/from_signal.c: nur_token_merge_word mark push serve serve_all
 * of lib/token/from_signal.c: nur_token_write_marked_locked relay_main
 * bits of lib/token/token.h
 *
 * A step is one access to what others may touch at that moment: to a word
 * (polls and vacant.c read it without the lock; in SIGNAL a handler changes it,
 * and there the lock's holder loads it in one step and stores it in the next),
 * to a count of handles, to the lock.  What only the lock's holder sees, the
 * shape, is changed in one step.  A walk may let others have the lock after
 * each token.  Memory is sequentially consistent: who has the lock has seen
 * what its last holder wrote, and a single word needs no more; token_wait.pml
 * has the buffers.
 *
 * Held, by assertions: T1 (at each store of a word; when a raise returns; for
 * a child when it is given out), T2, T3 (who sees a level finds the record),
 * T4 and W1 (each time the lock is let go), T6 (nothing is touched that has
 * gone), W3, V3, F1 to F4.  No actor waits for ever (no invalid end state).
 *
 * run BIRTH	children are made, given up and taken again while two raise
 * run CHAIN	three raise in a chain G - P - C - D
 * run SPLICE	a middle, its child and its sibling leave while two raise
 * run MIDDLE	the middle is raised, too, and leaves after that
 * run DEAF	a raise of what is shielded, or new_at, and leaves
 * run SIGNAL	a handler cancels while others raise and release
 * ltl CHAIN heard	when a raise of the top has returned the bottom shows it, for ever
 *
 * bug BORN_LIVE BIRTH assertion	a child does not take its parent's level
 * bug BORN_OLD BIRTH assertion	a child takes the level that its parent had before the lock
 * bug PARENT_UNSEEN BIRTH assertion	a vacant child is given out whatever its parent shows, V3
 * bug VACANT_PASSED BIRTH assertion	a walk passes over tokens without a handle
 * bug DECIDES_EARLY CHAIN assertion	whether the level is reached is decided before the lock
 * bug FORGET_CHILD SPLICE assertion	a walk tells the first child only
 * bug LOSER_RETURNS CHAIN assertion	a raise that finds the level reached does not wait
 * bug WALKER_RETURNS CHAIN assertion	a walk that met another does not wait for it
 * bug WALKER_RETURNS CHAIN cycle	the same, as the bottom that does not show it
 * bug WAITS_ONCE CHAIN assertion	who waits for a walk does not look for others
 * bug WAITS_LISTED CHAIN deadlock	a walk waits while others wait for it, W3
 * bug TICKET_TOO_LATE CHAIN deadlock	who waits for a walk takes its ticket without the lock
 * bug LISTED_TWICE CHAIN assertion	a token that is on a walk's list is put on another
 * bug CURSOR_UNLINKED SPLICE assertion	a walk goes on at a token that has left
 * bug CURSOR_SPLICED SPLICE assertion	a walk goes on at a token that gave its place to its child
 * bug NOT_PINNED SPLICE assertion	the token whose kids are told may go
 * bug LISTED_GOES SPLICE assertion	a token on a walk's list may go
 * bug SPLICE_WITH_TWO SPLICE assertion	a token gives its place to one child though it has two
 * bug KID_KEEPS_PARENT SPLICE assertion	a child that takes a place still has for parent who gave it
 * bug CAUSE_LOST SPLICE assertion	a token that goes does not leave its cause to its child
 * bug NOT_SETTLED SPLICE assertion	a walk does not look whether what it held may go
 * bug WITHOUT_LOCK SPLICE assertion	a token that others can find leaves the tree without the lock
 * bug SHIELD_SPLICED DEAF assertion	a token that keeps levels from its child goes
 * bug SHIELD_HEARS_ALL DEAF assertion	a shielded child is raised as any other
 * bug NO_MERGE SIGNAL assertion	who has the lock stores a word over what a handler added, F4
 * bug QUEUED_GOES SIGNAL assertion	a token goes while it is queued, F2
 * bug QUEUED_UNTOLD SIGNAL assertion	a raise passes over queued tokens, F3
 * bug MARKED_LATER SIGNAL assertion	the handler sets the level first and then what goes with it, F1
 * bug BASE_LOST SIGNAL assertion	the relay makes no record out of the mark
 *
 * Bounds: up to five tokens, up to four actors.  Left out: joins, deadlines,
 * the end of a shield, private nurseries, entries (token_wait.pml).
 */

#define LIVE	0
#define DRAIN	1
#define CANCEL	2
#define ABORT	3

/* The word, as in token.h. */
#define NUR_LEVEL_MASK		3
#define NUR_ORIGIN(l)		(2 << (l))
#define NUR_TOKEN_SHIELDED	(1 << 5)
#define NUR_TOKEN_AT_SHIFT	6
#define NUR_TOKEN_AT_MASK	(3 << NUR_TOKEN_AT_SHIFT)
#define NUR_TOKEN_RELEASED	(1 << 8)
#define NUR_TOKEN_ON_WALK	(1 << 10)
#define NUR_TOKEN_SHARED	(1 << 11)
#define NUR_TOKEN_ROOT		(1 << 20)
#define NUR_TOKEN_PIN		(1 << 12)
#define NUR_TOKEN_PINS		(255 << 12)
#define NUR_TOKEN_QUEUED	(1 << 23)
#define NUR_TOKEN_BASE_SHIFT	24
#define NUR_TOKEN_BASE_MASK	(3 << NUR_TOKEN_BASE_SHIFT)

#define LEVEL(w)	((w) & NUR_LEVEL_MASK)
#define RAISED(w, l)	(((w) & ~NUR_LEVEL_MASK) | (l))
#define HAS(t, bits)	((word[t] & (bits)) != 0)
#define AT(w)		(((w) & NUR_TOKEN_AT_MASK) >> NUR_TOKEN_AT_SHIFT)

/* nur_token_hears(), heard_as() */
#define AT_HEARS(at, l)	((l) < (at) -> LIVE : ((l) > CANCEL -> (l) : CANCEL))
#define SHIELD_HEARS(l)	((l) >= ABORT -> (l) : LIVE)
#define HEARS(w, l)	(((w) & NUR_TOKEN_SHIELDED) != 0 -> SHIELD_HEARS(l) : \
	(AT(w) != 0 -> AT_HEARS(AT(w), l) : (l)))
#define HEARD_AS(t, l)	(AT(word[t]) != 0 && (l) <= CANCEL -> AT(word[t]) : \
	(l))

/* ---- tokens ---- */

#if defined SPLICE || defined MIDDLE
#define N	5	/* tokens; a child has a higher number than its parent */
#elif defined SIGNAL
#define N	3
#else
#define N	4
#endif
#define NIL	7
#define ACTORS	4

int word[N];
byte refs[N];
byte parent[N] = NIL, right[N] = NIL, left[N] = NIL, kids[N] = NIL;
byte on_list[N] = NIL;		/* walk: next on the list of one */
byte record[N];			/* bit l: why level l was reached */
bool there[N];			/* made, and not freed yet */
bool tree;			/* the lock */

/* struct nur_walk, of each actor */
bool listed[ACTORS];
byte root[ACTORS] = NIL, first[ACTORS] = NIL, cursor[ACTORS] = NIL;
byte at_work[ACTORS] = NIL;	/* whose kids it tells just now */
byte drained, waiters;
bool asleep[ACTORS];		/* at `drained` */

/* T1: what a raise has to bring about, a level for each below it. */
byte owed[ACTORS * N];
#define OWED(a, t)	owed[(a) * N + (t)]

/* Within one step. */
hidden byte i, l, up;
hidden byte found;
hidden int new;

/* ---- the word ---- */

/* nur_token_set_word(); T1.  In SIGNAL the compare-and-swap that succeeds in
 * nur_token_merge_word(): it keeps what a handler has added, F4. */
#define BY_HANDLER	(NUR_TOKEN_QUEUED | NUR_TOKEN_BASE_MASK)

inline set_word(whose, value)
{
	d_step {
		assert(there[whose]);
		new = value;
#if defined SIGNAL && !defined NO_MERGE
		new = new | (word[whose] & BY_HANDLER);
		if
		:: LEVEL(word[whose]) > LEVEL(new) ->
			new = RAISED(new, LEVEL(word[whose]))
		:: else
		fi;
#endif
		assert(LEVEL(new) >= LEVEL(word[whose]));
		word[whose] = new;
		new = 0
	}
}

/* A load, and a store of what has been made of it in `w`. */
inline change(whose, value)
{
#ifdef SIGNAL
	w = word[whose];
	set_word(whose, value);
	w = 0
#else
	atomic {
		w = word[whose];
		set_word(whose, value);
		w = 0
	}
#endif
}

/* ---- who may go ---- */

#define MAY_GO(t)	((word[t] & (NUR_TOKEN_RELEASED | BARS)) == \
	NUR_TOKEN_RELEASED)
#if defined NOT_PINNED
#define BARS	(NUR_TOKEN_ON_WALK | NUR_TOKEN_QUEUED)
#elif defined LISTED_GOES
#define BARS	(NUR_TOKEN_PINS | NUR_TOKEN_QUEUED)
#elif defined QUEUED_GOES
#define BARS	(NUR_TOKEN_PINS | NUR_TOKEN_ON_WALK)
#else
#define BARS	(NUR_TOKEN_PINS | NUR_TOKEN_ON_WALK | NUR_TOKEN_QUEUED)
#endif

#define EXPLAINS_AT(t, kid, l)	(LEVEL(word[kid]) < (l) && \
	HAS(t, NUR_ORIGIN(HEARD_AS(kid, l))))
#define EXPLAINS(t, kid)	(EXPLAINS_AT(t, kid, DRAIN) || \
	EXPLAINS_AT(t, kid, CANCEL) || EXPLAINS_AT(t, kid, ABORT))
#define TELLS(t)	HAS(t, NUR_TOKEN_SHIELDED | NUR_TOKEN_AT_MASK)

/* T4: by its only kid. */
#define IS_NEEDED(t)	(TELLS(t) || EXPLAINS(t, kids[t]))
#ifdef SHIELD_SPLICED
#define STAYS(t)	EXPLAINS(t, kids[t])
#else
#define STAYS(t)	IS_NEEDED(t)
#endif

/* ---- the lock ---- */

inline lock()
{
	atomic { !tree -> tree = true }
}

#define KIDS_ARE_TOLD_BY_SOMEBODY(t)	(HAS(t, NUR_TOKEN_ON_WALK | \
	NUR_TOKEN_QUEUED) || at_work[0] == t || at_work[1] == t || \
	at_work[2] == t || at_work[3] == t)

/* T3: i came to its level by a raise of its own or heard it from above. */
#define HAS_CAUSE(i, l)	((l) == LIVE || HAS(i, NUR_ORIGIN(l) | \
	NUR_TOKEN_BASE_MASK) || (parent[i] != NIL && \
	HEARS(word[i], LEVEL(word[parent[i]])) >= (l)))

/* T3, T4, W1, and that the lists are lists. */
inline verify()
{
	d_step {
		for (i : 0 .. N - 1) {
			assert(!there[i] || HAS_CAUSE(i, LEVEL(word[i])));
			if
			:: there[i] && parent[i] != NIL ->
				up = parent[i];
				assert(there[up]);
				assert(left[i] != NIL || kids[up] == i);
				assert(left[i] == NIL || right[left[i]] == i);
				assert(LEVEL(word[i]) >= HEARS(word[i],
				    LEVEL(word[up])) ||
				    KIDS_ARE_TOLD_BY_SOMEBODY(up))
			:: else
			fi;
			if
			:: there[i] && MAY_GO(i) ->
				assert(kids[i] != NIL && (right[kids[i]] != NIL
				    || IS_NEEDED(i)))
			:: else
			fi
		};
		i = 0;
		up = 0
	}
}

inline unlock()
{
	atomic { verify(); tree = false }
}

/* ---- the shape ---- */

inline move_cursors(from, to_)
{
	for (i : 0 .. ACTORS - 1) {
		if
		:: cursor[i] == from -> cursor[i] = to_
		:: else
		fi
	};
	i = 0
}

inline link_in(t, above)
{
	d_step {
		parent[t] = above;
		left[t] = NIL;
		right[t] = kids[above];
		if
		:: right[t] != NIL -> left[right[t]] = t
		:: else
		fi;
		kids[above] = t
	}
}

/* nur_token_link_locked() */
inline link(t, above)
{
#ifndef BORN_OLD
	heard = word[above];
#endif
	own = word[t];
	if
	:: HAS(above, NUR_TOKEN_SHARED)
	:: else -> change(above, w | NUR_TOKEN_SHARED)
	fi;
	link_in(t, above);
#ifndef BORN_LIVE
	own = own | HEARS(own, LEVEL(heard));
#endif
	set_word(t, own);
	heard = 0;
	own = 0
}

inline free_token(t)
{
	assert(there[t] && refs[t] == 0);
	there[t] = false;
	right[t] = NIL;
	left[t] = NIL;
	parent[t] = NIL;
	kids[t] = NIL;
	record[t] = 0;
	word[t] = 0
}

inline unlink(t)
{
#ifndef CURSOR_UNLINKED
	move_cursors(t, right[t]);
#endif
	if
	:: right[t] != NIL -> left[right[t]] = left[t]
	:: else
	fi;
	if
	:: left[t] != NIL -> right[left[t]] = right[t]
	:: left[t] == NIL && parent[t] != NIL -> kids[parent[t]] = right[t]
	:: else
	fi
}

/* replace_locked(): kid stands where t stood. */
inline replace(t, kid)
{
#ifndef CURSOR_SPLICED
	move_cursors(t, kid);
#endif
#ifndef KID_KEEPS_PARENT
	parent[kid] = parent[t];
#endif
	right[kid] = right[t];
	left[kid] = left[t];
	if
	:: right[kid] != NIL -> left[right[kid]] = kid
	:: else
	fi;
	if
	:: left[kid] != NIL -> right[left[kid]] = kid
	:: left[kid] == NIL && parent[t] != NIL -> kids[parent[t]] = kid
	:: else
	fi
}

/* T3 */
inline bequeath(t, kid)
{
	for (l : DRAIN .. LEVEL(word[kid])) {
		if
		:: HAS(t, NUR_ORIGIN(HEARD_AS(kid, l))) &&
		    !HAS(kid, NUR_ORIGIN(l)) ->
			record[kid] = record[kid] | (1 << l);
			word[kid] = word[kid] | NUR_ORIGIN(l)
		:: else
		fi
	};
	l = 0
}

/* nur_token_settle_locked() */
inline settle(t)
{
	atomic {
		s = t;
		do
		:: s == NIL -> break
		:: s != NIL && !MAY_GO(s) -> break
		:: s != NIL && MAY_GO(s) && kids[s] == NIL -> d_step {
			up = parent[s];
			unlink(s);
			free_token(s);
			s = up;
			up = 0
		   }
		:: s != NIL && MAY_GO(s) && kids[s] != NIL ->
			if
#ifdef SPLICE_WITH_TWO
			:: STAYS(s)
#else
			:: right[kids[s]] != NIL || STAYS(s)
#endif
			:: else -> d_step {
				up = kids[s];
#ifndef CAUSE_LOST
				bequeath(s, up);
#endif
				replace(s, up);
				free_token(s);
				up = 0
			   }
			fi;
			break
		od;
		s = NIL
	}
}

/* ---- a walk ---- */

inline push(t, value)
{
	atomic {
		set_word(t, (value) | NUR_TOKEN_ON_WALK);
		on_list[t] = first[me];
		first[me] = t
	}
}

/* tell_locked() */
inline tell(t, level)
{
	assert(there[t]);
	w = word[t];
#ifdef SHIELD_HEARS_ALL
	to = level;
#else
	to = HEARS(w, level);
#endif
	if
#ifdef VACANT_PASSED
	:: refs[t] == 0
#endif
#ifdef QUEUED_UNTOLD
	:: to <= LEVEL(w)
#else
	:: to <= LEVEL(w) && (w & NUR_TOKEN_QUEUED) == 0
#endif
	:: else ->
		to = (to <= LEVEL(w) -> LEVEL(w) : to);
		w = RAISED(w, to);
		if
#ifdef LISTED_TWICE
		:: kids[t] != NIL -> push(t, w)
#else
		:: kids[t] != NIL && (w & NUR_TOKEN_ON_WALK) == 0 ->
			push(t, w)
#endif
		:: else -> set_word(t, w)
		fi
	fi;
	atomic { w = 0; to = 0 }
}

inline let_others_in()
{
	atomic { listed[me] = true; cursor[me] = n };
	unlock();
	lock();
	atomic { n = cursor[me]; cursor[me] = NIL }
}

/* tell_kids_locked(); it may look up after each of them. */
inline tell_kids(x)
{
	level_ = LEVEL(word[x]);
	c = kids[x];
	do
	:: c == NIL -> break
	:: else ->
		n = right[c];
		tell(c, level_);
		if
		:: true
		:: let_others_in(); level_ = LEVEL(word[x])
		fi;
#ifdef FORGET_CHILD
		n = NIL;
#endif
		atomic { c = n; n = NIL }
	od;
	level_ = 0
}

inline walk_down(t)
{
	if			/* W2 */
	:: HAS(t, NUR_TOKEN_ON_WALK)
	:: else -> push(t, word[t])
	fi;
	do
	:: first[me] == NIL -> break
	:: else ->
		atomic {
			x = first[me];
			first[me] = on_list[x];
			on_list[x] = NIL;
			at_work[me] = x
		};
		change(x, w + NUR_TOKEN_PIN - NUR_TOKEN_ON_WALK);
		tell_kids(x);
		at_work[me] = NIL;
		change(x, w - NUR_TOKEN_PIN);
#ifndef NOT_SETTLED
		if
		:: HAS(x, NUR_TOKEN_RELEASED) -> settle(x)
		:: else
		fi;
#endif
		x = NIL
	od
}

inline look_above(upper, lower)
{
	up = lower;
	do
	:: up == NIL -> break
	:: up == upper -> found = true; break
	:: else -> up = parent[up]
	od;
	up = 0
}

/* awaited_locked(), in `found` */
inline awaited(t)
{
	found = false;
	for (i : 0 .. ACTORS - 1) {
		if
		:: listed[i] ->
			look_above(root[i], t);
			look_above(t, root[i])
		:: else
		fi
	};
	i = 0
}

/* await_walks_locked(): the ticket is taken under the lock. */
inline await_walks(t)
{
	do
	:: atomic {
		d_step { awaited(t) };
		if
		:: found -> found = false
		:: else -> break
		fi;
		seen = drained;
		waiters++
	   };
	   unlock();
#ifdef TICKET_TOO_LATE
	   seen = drained;
#endif
	   atomic {
		if
		:: drained == seen -> asleep[me] = true
		:: else
		fi;
		seen = 0
	   };
	   !asleep[me];
	   lock();
	   waiters--;
#ifdef WAITS_ONCE
	   break
#endif
	od
}

inline unlist()
{
	atomic {
		if
		:: listed[me] ->
			listed[me] = false;
			drained++;
			if
			:: waiters > 0 ->
				for (i : 0 .. ACTORS - 1) {
					asleep[i] = false
				};
				i = 0
			:: else
			fi
		:: else
		fi
	}
}

/* ---- a raise ---- */

/* T1: what hears of it, and exists now. */
inline owe(t, to_)
{
	d_step {
		OWED(me, t) = to_;
		for (i : 1 .. N - 1) {
			if
			:: there[i] && parent[i] != NIL && i != t ->
				OWED(me, i) = HEARS(word[i],
				    OWED(me, parent[i]))
			:: else
			fi
		};
		i = 0
	}
}

inline has_paid()
{
	d_step {
		for (i : 0 .. N - 1) {
			assert(!there[i] || LEVEL(word[i]) >= OWED(me, i));
			OWED(me, i) = 0
		};
		i = 0
	}
}

/* T2: each level has one record, and it comes first. */
inline write_records(t, to_)
{
	w = word[t];
	d_step {
#ifndef SIGNAL
		assert(LEVEL(w) < to_);
#endif
		for (l : LEVEL(w) + 1 .. to_) {
			assert((record[t] & (1 << l)) == 0);
			record[t] = record[t] | (1 << l);
			w = w | NUR_ORIGIN(l)
		};
		l = 0
	};
	set_word(t, RAISED(w, to_));
	w = 0
}

/* nur_spread_and_unlock(), up to where it waits, and from there on */
inline spread(t)
{
	root[me] = t;
	change(t, w + NUR_TOKEN_PIN);
	if
	:: kids[t] != NIL -> walk_down(t)
	:: else
	fi;
#ifndef WAITS_LISTED
	unlist()
#endif
}

inline let_spread_go(t)
{
#ifdef WAITS_LISTED
	unlist();
#endif
	root[me] = NIL;
	change(t, w - NUR_TOKEN_PIN);
	settle(t)
}

#if defined LOSER_RETURNS
#define WAITS	spreads
#elif defined WALKER_RETURNS
#define WAITS	!spreads
#else
#define WAITS	true
#endif

/* nur_token_raise(); the caller has a handle. */
inline raise(t, to_)
{
	owe(t, to_);
#ifdef DECIDES_EARLY
	reached = LEVEL(word[t]) >= to_;
	lock();
#else
	lock();
	reached = LEVEL(word[t]) >= to_;
#endif
	spreads = !reached || HAS(t, NUR_TOKEN_QUEUED);		/* F3 */
	if
	:: !reached -> write_records(t, to_)
	:: else
	fi;
	if
	:: spreads -> spread(t)
	:: else
	fi;
	if
	:: WAITS -> await_walks(t)
	:: else
	fi;
	if
	:: spreads -> let_spread_go(t)
	:: else
	fi;
	atomic { reached = false; spreads = false };
	unlock();
	has_paid()
}

/* ---- handles ---- */

#ifdef WITHOUT_LOCK
#define NEVER_SHARED(t)	true
#else
#define NEVER_SHARED(t)	((word[t] & (NUR_TOKEN_ROOT | NUR_TOKEN_SHARED | \
	NUR_TOKEN_QUEUED)) == NUR_TOKEN_ROOT)
#endif

inline let_go(t)
{
	change(t, w | NUR_TOKEN_RELEASED);
	settle(t)
}

/* nursery_token_unref(), without vacant.h */
inline unref(t)
{
	before = refs[t];
	if
	:: before > 1 -> atomic { before = refs[t]; refs[t]-- }
	:: else
	fi;
	if
	:: before == 1 ->
		refs[t] = 0;
		if
		:: NEVER_SHARED(t) -> d_step { unlink(t); free_token(t) }
		:: else ->
			lock();
			let_go(t);
			unlock()
		fi
	:: else
	fi;
	before = 0
}

/* ---- causes: T2, T3 ---- */

/* nur_token_write_marked_locked(): of each level above that before the mark. */
inline adopt_mark(t)
{
	if
	:: HAS(t, NUR_TOKEN_BASE_MASK) ->
		d_step {
			for (l : (word[t] & NUR_TOKEN_BASE_MASK) >>
			    NUR_TOKEN_BASE_SHIFT .. CANCEL) {
				record[t] = record[t] | (1 << l);
				word[t] = word[t] | NUR_ORIGIN(l)
			};
			l = 0;
			word[t] = word[t] & ~NUR_TOKEN_BASE_MASK
		}
	:: else
	fi
}

/* nursery_token_cause() of each level up to the one that a poll has shown. */
inline poll_and_ask(t)
{
	level_ = LEVEL(word[t]);
	if
	:: level_ != LIVE ->
		lock();
		atomic {
			do
			:: level_ == LIVE -> break
			:: else ->
				s = t;
				seen = level_;
				do
				:: assert(s != NIL);	/* origin != NULL */
				   adopt_mark(s);
				   if
				   :: HAS(s, NUR_ORIGIN(seen)) -> break
				   :: else ->
					seen = HEARD_AS(s, seen);
					s = parent[s]
				   fi
				od;
				assert((record[s] & (1 << seen)) != 0);
				level_--
			od;
			s = NIL;
			seen = 0
		};
		unlock()
	:: else
	fi
}

/* ---- what actors do ---- */

byte done;			/* actors that have ended */
bool returned[ACTORS];		/* from its raise */

#define LOCALS	int w, heard, own; byte s, c, n, x, to, level_, seen, before; \
	bool reached, spreads

/* Raises t, and gives its handle up. */
proctype raiser(byte me; byte t; byte level)
{
	LOCALS;

	atomic { s = NIL; n = NIL; x = NIL };
	raise(t, level);
	returned[me] = true;
	unref(t);
	done++
}

#if defined SPLICE || defined MIDDLE
proctype releaser(byte me; byte t; byte u)
{
	LOCALS;

	atomic { s = NIL };
	do
	:: unref(t);
	   if
	   :: u == NIL -> break
	   :: else -> atomic { t = u; u = NIL }
	   fi
	od;
	done++
}
#endif

#if defined SPLICE || defined MIDDLE || defined DEAF
proctype reader(byte me; byte t)
{
	LOCALS;

	atomic { s = NIL };
	poll_and_ask(t);
	unref(t);
	done++
}
#endif

#ifdef BIRTH
/* ---- vacant.h ---- */

/* nursery_token_new() below `above`: it is born with what it should hear. */
inline make(t, above)
{
	asked = LEVEL(word[above]);
#ifdef BORN_OLD
	heard = word[above];
#endif
	lock();
	d_step { there[t] = true; refs[t] = 1 };
	link(t, above);
	unlock();
	assert(LEVEL(word[t]) >= asked);
	asked = 0
}

/* The last handle of t: V1, or it is let go. */
inline give(t)
{
	refs[t] = 0;
	if
	:: word[t] == 0 -> kept = true
	:: true ->
		lock();
		let_go(t);
		unlock()
	fi
}

/* V3: t, if it is kept; `kept`, if it stays vacant. */
inline take(t, above)
{
	asked = LEVEL(word[above]);
	if
	:: kept && parent[t] == above ->
		if
#ifdef PARENT_UNSEEN
		:: true ->
#else
		:: LEVEL(word[above]) == LIVE ->
#endif
			kept = false;
			if
			:: word[t] == 0 ->
				refs[t] = 1;
				assert(LEVEL(word[t]) >= asked)
			:: else ->
				lock();
				let_go(t);
				unlock()
			fi
		:: else
		fi
	:: else
	fi;
	asked = 0
}

/* A child of p is made, given up, and taken again, or there is another; p goes
 * first, then the child. */
proctype maker(byte me; byte p)
{
	LOCALS;
	byte asked, child;
	bool kept;

	atomic { s = NIL; child = p + 1 };
	make(child, p);
	give(child);
	take(child, p);
	if
	:: there[child] && refs[child] == 1
	:: else ->
		child++;
		make(child, p)
	fi;
	unref(p);
	poll_and_ask(child);
	unref(child);
	if			/* the thread ends */
	:: kept ->
		lock();
		let_go(child - 1);
		unlock()
	:: else
	fi;
	done++
}
#endif

#ifdef SIGNAL
/* ---- from_signal.c: F1 to F4 ---- */

byte queue = NIL;
byte rings;
bool relay_sleeps;

#define MARKED(w)	(RAISED(w, CANCEL) | NUR_TOKEN_QUEUED | \
	((LEVEL(w) + 1) << NUR_TOKEN_BASE_SHIFT))

/* Has a handle; may come at any moment. */
proctype handler(byte me; byte t)
{
	LOCALS;
	bool pushes;

	s = NIL;
	w = word[t];
	do
	:: LEVEL(w) >= CANCEL -> break
	:: else ->
		atomic {
			if
			:: word[t] == w ->
#ifdef MARKED_LATER
				word[t] = RAISED(w, CANCEL);
#else
				word[t] = MARKED(w);
#endif
				pushes = true;
				break
			:: else -> w = word[t]
			fi
		}
	od;
#ifdef MARKED_LATER
	if
	:: pushes -> word[t] = word[t] | MARKED(w)
	:: else
	fi;
#endif
	w = 0;
	if
	:: pushes ->
		queue = t;
		rings++;
		relay_sleeps = false
	:: else
	fi;
	assert(LEVEL(word[t]) >= CANCEL);
	if
	:: poll_and_ask(t)
	:: true
	fi;
	unref(t);
	done++
}

proctype relay(byte me)
{
	LOCALS;
	byte t = NIL, rung;

	atomic { s = NIL; n = NIL; x = NIL };
	do
	:: rung = rings;
	   atomic { t = queue; queue = NIL };
	   if
	   :: t != NIL ->
		lock();
		assert(there[t]);
#ifndef BASE_LOST
		adopt_mark(t);
#endif
		word[t] = word[t] & ~NUR_TOKEN_QUEUED;
		spread(t);
		await_walks(t);
		let_spread_go(t);
		unlock();
		t = NIL
	   :: else
	   fi;
	   atomic {
		if
		:: rings == rung -> relay_sleeps = true
		:: else
		fi;
		rung = 0
	   };
end:	   !relay_sleeps
	od
}
#endif

/* ---- the scenes ---- */

inline born(t, above, bits, handles)
{
	there[t] = true;
	refs[t] = handles;
	word[t] = bits;
	if
	:: above == NIL -> word[t] = word[t] | NUR_TOKEN_ROOT
	:: else ->
		link_in(t, above);
		word[above] = word[above] | NUR_TOKEN_SHARED
	fi
}

/* Nobody is at work, and no bit says so. */
inline all_quiet()
{
	verify();
	d_step {
		for (i : 0 .. N - 1) {
			assert(!there[i] || !HAS(i, NUR_TOKEN_PINS |
			    NUR_TOKEN_ON_WALK | NUR_TOKEN_QUEUED));
			assert(!there[i] || refs[i] > 0 || kids[i] != NIL)
		}
	}
}

init
{
	atomic {
#if defined BIRTH
#define COUNT	3
		born(0, NIL, 0, 1);
		born(1, 0, 0, 2);
		run raiser(0, 0, CANCEL);
		run raiser(1, 1, DRAIN);
		run maker(2, 1)
#elif defined CHAIN
#define COUNT	3
		born(0, NIL, 0, 2);
		born(1, 0, 0, 1);
		born(2, 1, 0, 1);
		born(3, 2, 0, 1);
		run raiser(0, 0, CANCEL);
		run raiser(1, 1, ABORT);
		run raiser(2, 0, CANCEL)
#elif defined SPLICE || defined MIDDLE
#define COUNT	4
		born(0, NIL, 0, 1);
		born(1, 0, 0, 1);
		born(2, 0, 0, 1);
		if		/* either of them first */
		:: true
		:: left[1] = NIL; right[1] = 2; left[2] = 1; right[2] = NIL;
			kids[0] = 1
		fi;
		born(3, 1, 0, 1);
		born(4, 1, 0, 1);
		run raiser(0, 0, CANCEL);
#ifdef MIDDLE
		run raiser(1, 1, ABORT);
#else
		/* It has been raised before. */
		record[1] = 1 << DRAIN;
		word[1] = word[1] | DRAIN | NUR_ORIGIN(DRAIN);
		word[3] = word[3] | DRAIN;
		word[4] = word[4] | DRAIN;
		run releaser(1, 1, NIL);
#endif
		run releaser(2, 4, 2);
		run reader(3, 3)
#elif defined DEAF
#define COUNT	4
		born(0, NIL, 0, 1);
		born(1, 0, 0, 1);
		born(2, 1, NUR_TOKEN_SHIELDED, 1);
		born(3, 2, DRAIN << NUR_TOKEN_AT_SHIFT, 1);
		run raiser(0, 0, ABORT);
		run raiser(1, 1, CANCEL);
		run raiser(2, 2, DRAIN);
		run reader(3, 3)
#elif defined SIGNAL
#define COUNT	3
		born(0, NIL, 0, 1);
		born(1, 0, 0, 2);
		born(2, 1, 0, 1);
		run raiser(0, 0, DRAIN);
		run raiser(1, 1, CANCEL);
		run handler(2, 1);
		run relay(3)
#endif
	};
#ifdef SIGNAL
	done == COUNT && relay_sleeps;
#else
	done == COUNT;
#endif
	all_quiet()
}

#ifdef CHAIN
ltl heard { [] (returned[0] -> [] (LEVEL(word[3]) >= CANCEL)) }
#endif
