package conn

import (
	"context"
	"sync"

	"fleetssh/internal/deadline"
)

// users counts the users of a [Conn] and the programs on the host. It is the only place that
// decides who may close a connection that others may still use, and whether the only process of
// the connection on the host must belong to one caller.
type users struct {
	mu        sync.Mutex // protects what follows
	count     int        // see Enter
	programs  int        // see AddProgram
	retired   bool
	exclusive chan struct{} // closed when the owner of the host releases it; nil: nobody has it, see TryExclusive
}

// Enter adds a user: a session, a channel of a copy, a channel or listener of a tunnel, a
// connection to a host behind this one, or a call that is about to open one of these. Each user
// calls [Conn.Leave] when it is done.
func (u *users) Enter() {
	u.mu.Lock()
	u.count++
	u.mu.Unlock()
}

// Join is Enter for users that could use another connection as well. It returns false if this
// one is retired.
func (u *users) Join() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.retired {
		u.count++
	}
	return !u.retired
}

// Disused reports whether the connection is retired and has no users left.
func (u *users) Disused() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.retired && u.count == 0
}

// shared reports whether the connection has more than one user.
func (u *users) shared() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.count > 1
}

// IsRetired reports whether Retire has been called.
func (u *users) IsRetired() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.retired
}

// Leave removes a user that Enter or Join has added. The last user closes a retired connection.
func (c *Conn) Leave() {
	c.users.mu.Lock()
	c.users.count--
	last := c.users.retired && c.users.count == 0
	c.users.mu.Unlock()
	if last {
		c.closeSoon()
	}
}

// Retire takes a connection that is suspect or no longer needed out of use: nobody joins it any
// more, and it is closed when the last user has left, at once if there is none.
func (c *Conn) Retire() {
	c.users.mu.Lock()
	again := c.users.retired
	c.users.retired = true
	unused := c.users.count == 0
	c.users.mu.Unlock()
	if unused && !again {
		c.closeSoon()
	}
}

// closeSoon closes the connection without waiting for it.
func (c *Conn) closeSoon() {
	c.Go(func() { c.Link().Close() }) // Go refuses only after Close, which closes the link itself
}

// AddProgram counts a program that the host is about to be asked to start: a command, a shell or
// a subsystem. It counts until the host reports its end, even if nobody waits for it any more;
// then [Conn.RemoveProgram] is called. AddProgram waits while a caller of [Conn.TryExclusive]
// has the host to itself; the error is ctx's.
func (u *users) AddProgram(ctx context.Context) error {
	for {
		u.mu.Lock()
		exclusive := u.exclusive
		if exclusive == nil {
			u.programs++
		}
		u.mu.Unlock()
		if exclusive == nil {
			return nil
		}
		select {
		case <-exclusive:
		case <-ctx.Done():
			return deadline.Cause(ctx)
		}
	}
}

// AddProgramNow is AddProgram for callers that cannot or must not wait.
func (u *users) AddProgramNow() {
	u.mu.Lock()
	u.programs++
	u.mu.Unlock()
}

// RemoveProgram undoes AddProgram: the program has ended, or was not started.
func (u *users) RemoveProgram() {
	u.mu.Lock()
	u.programs--
	u.mu.Unlock()
}

// TryExclusive gives the host to the caller if the caller's program is the only one on it: no
// other is started until the caller calls release. ok is false if there are others, or may be.
func (u *users) TryExclusive() (release func(), ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.programs != 1 || u.exclusive != nil {
		return nil, false
	}
	exclusive := make(chan struct{})
	u.exclusive = exclusive
	return func() {
		u.mu.Lock()
		u.exclusive = nil
		u.mu.Unlock()
		close(exclusive)
	}, true
}
