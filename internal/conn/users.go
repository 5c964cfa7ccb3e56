package conn

import (
	"context"
	"sync"

	"fleetssh/internal/deadline"
)

// users counts what uses a [Conn]. It is the one place that decides who may close a connection
// that others may still use, and who may take the only process on the host to be its own.
type users struct {
	mu       sync.Mutex // protects what follows
	count    int        // see Enter
	programs int        // see AddProgram
	retired  bool
	stopping chan struct{} // closed when whoever has the host to itself is done; nil: nobody has
}

// Enter notes one more user: a session, a pipe of a copy, a channel or listener of a tunnel, a
// connection to a host behind this one, or a call that is about to open one of these. Each
// calls [Conn.Leave] when it is done.
func (u *users) Enter() {
	u.mu.Lock()
	u.count++
	u.mu.Unlock()
}

// Join is enter for those who can use another connection as well. It returns false if this
// one is retired.
func (u *users) Join() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.retired {
		u.count++
	}
	return !u.retired
}

// Unused reports whether the connection is retired and nobody uses it any more.
func (u *users) Unused() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.retired && u.count == 0
}

// several reports whether more than one uses the connection.
func (u *users) several() bool {
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

// Leave is the counterpart of [Conn.Enter]. The last user closes a retired connection.
func (c *Conn) Leave() {
	c.users.mu.Lock()
	c.users.count--
	last := c.users.retired && c.users.count == 0
	c.users.mu.Unlock()
	if last {
		c.hangUp()
	}
}

// Retire ends the use of a connection that is suspect or no longer needed: nobody joins it any
// more, and it is closed when the last user has left it, at once if there is none.
func (c *Conn) Retire() {
	c.users.mu.Lock()
	again := c.users.retired
	c.users.retired = true
	unused := c.users.count == 0
	c.users.mu.Unlock()
	if unused && !again {
		c.hangUp()
	}
}

// hangUp closes the connection and waits for nothing.
func (c *Conn) hangUp() {
	// Close, which ends the connection itself, is the only reason not to do it.
	c.Go(func() { c.Link().Close() })
}

// AddProgram notes that the host is about to be asked to start a program: a command, a shell or
// a subsystem, which is then a process of the connection until the host has said that it has
// ended, whether anybody here still waits for it or not. It waits while somebody has the host
// to itself; the error is that of ctx.
func (u *users) AddProgram(ctx context.Context) error {
	for {
		u.mu.Lock()
		stopping := u.stopping
		if stopping == nil {
			u.programs++
		}
		u.mu.Unlock()
		if stopping == nil {
			return nil
		}
		select {
		case <-stopping:
		case <-ctx.Done():
			return deadline.Cause(ctx)
		}
	}
}

// CountProgram is AddProgram for those who cannot wait, or must not.
func (u *users) CountProgram() {
	u.mu.Lock()
	u.programs++
	u.mu.Unlock()
}

// RemoveProgram notes that a program has ended, or was not started.
func (u *users) RemoveProgram() {
	u.mu.Lock()
	u.programs--
	u.mu.Unlock()
}

// Alone gives the host to the caller if it has no program but that of the caller: none is
// started until the caller calls done. ok is false if there are others, or may be.
func (u *users) Alone() (done func(), ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.programs != 1 || u.stopping != nil {
		return nil, false
	}
	stopping := make(chan struct{})
	u.stopping = stopping
	return func() {
		u.mu.Lock()
		u.stopping = nil
		u.mu.Unlock()
		close(stopping)
	}, true
}
