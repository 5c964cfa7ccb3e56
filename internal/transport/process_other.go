//go:build !unix

package transport

import (
	"context"
	"errors"
	"net"
)

const commandsWork = false

// processConn exists only so that the package compiles: start returns an error.
type processConn struct{ net.Conn }

func (c *command) start(context.Context, string, string, Trace) (*processConn, error) {
	return nil, errors.ErrUnsupported
}

func (c *processConn) passed(context.Context) (net.Conn, error) { return nil, errors.ErrUnsupported }
