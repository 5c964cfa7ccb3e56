package fleetssh

import "context"

// asking lets one goroutine of the process at a time put a question to the user:
// however many clients there are, there is one terminal. It holds no state.
var asking = make(chan struct{}, 1)

// ask puts a question to the user, if there is one to ask.
func (a *Auth) ask(ctx context.Context, q Question) (answer string, err error) {
	select {
	case asking <- struct{}{}:
		defer func() { <-asking }()
	case <-ctx.Done():
		return "", causeOf(ctx)
	}
	return a.Ask(ctx, q)
}
