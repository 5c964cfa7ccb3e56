package explain

import (
	"strings"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/display"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

// PutPlans shows the plans for host number index and its hops as objects. config is the lines of ssh_config
// about the host.
func PutPlans(screen *termline.Screen, host string, index int, plans []fleetssh.Plan, config []selection.ConfigLine) {
	for n := range plans {
		j := newJSONPlan(host, index, &plans[n], n == len(plans)-1)
		if !j.Hop {
			j.Config = config
		}
		display.PutJSON(screen, j)
	}
}

// jsonPlan is the plan for one hop or host.
type jsonPlan struct {
	Type  string     `json:"type"`
	Host  string     `json:"host"`  // the host that is explained
	Index int        `json:"index"` // of that host
	At    string     `json:"at"`    // the hop or host of this plan
	Hop   bool       `json:"hop"`
	User  string     `json:"user"`
	Port  int        `json:"port"`
	Steps []jsonStep `json:"steps"`

	Config []selection.ConfigLine `json:"ssh_config,omitempty"`
}

type jsonStep struct {
	Phase  string `json:"phase"`
	What   string `json:"what"`
	Why    string `json:"why,omitempty"`
	Passed bool   `json:"passed,omitempty"`
}

func newJSONPlan(host string, index int, p *fleetssh.Plan, last bool) jsonPlan {
	j := jsonPlan{Type: "plan", Host: host, Index: index, At: p.Host.Host, Hop: !last, User: p.User, Port: p.Port}
	for _, s := range p.Steps {
		j.Steps = append(j.Steps, jsonStep{string(s.Phase), strings.TrimSpace(s.What), s.Why, s.Passed})
	}
	return j
}
