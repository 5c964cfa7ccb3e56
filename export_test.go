package fleetssh

// ControlSockets returns where the socket of a master may be.
func ControlSockets(h HostConfig) []string {
	paths, err := h.controlSockets()
	if err != nil {
		panic(err)
	}
	return paths
}
