package display

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"fleetssh/cmd/fleetssh/internal/termline"
)

// Hosts with the same banner share its lines, and no banner is shown twice.
func TestBannersOfHosts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		b := &Banners{Screen: termline.New(&out, &out)}
		for _, host := range []string{"web3", "web1", "web2", "web1"} {
			b.Add(host, "visit x")
		}
		time.Sleep(2 * bannerDelay)
		b.Add("web4", "visit x")
		b.Flush()
		if got := out.String(); got != "web[1-3]: visit x\n" {
			t.Errorf("shown: %q", got)
		}
	})
}
