package fleetssh

import (
	"context"

	"fleetssh/internal/deadline"
)

// asking lets one goroutine of the process at a time put a question to the user:
// however many clients there are, there is one terminal. It holds no state.
var asking = make(chan struct{}, 1)

// waitToAsk waits for the turn to ask. done must be called when that is over.
func waitToAsk(ctx context.Context) (done func(), err error) {
	select {
	case asking <- struct{}{}:
		return func() { <-asking }, nil
	case <-ctx.Done():
		return nil, deadline.Cause(ctx)
	}
}

// ask puts a question to the user, if there is one to ask.
func (a *Auth) ask(ctx context.Context, q Question) (answer string, err error) {
	done, err := waitToAsk(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return a.Ask(ctx, q)
}
