package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"fleetssh"
	"fleetssh/cmd/fleetssh/internal/demofleet"
	"fleetssh/cmd/fleetssh/internal/selection"
	"fleetssh/cmd/fleetssh/internal/termline"
)

const demoTunnel = `
# One proxy into all hosts: fleetssh tunnel --serve 1080, or from Go

  proxy, err := fleet.ForwardProxy(ctx, "127.0.0.1:0")

`

// playTunnel fetches a page from each of two hosts through one proxy.
func (f *demoFleet) playTunnel(ctx context.Context, screen *termline.Screen) error {
	screen.Print([]byte(demoTunnel))
	hosts, err := (&selection.ExprFlags{Exprs: []string{"web[1-4]"}}).Select(fleetssh.HostConfig{})
	if err != nil {
		return err
	}
	for i := range hosts {
		f.Redirect(&hosts[i])
	}
	fleet := &fleetssh.ParallelClient{Hosts: selection.Configs(hosts)}
	defer fleet.Close()
	proxy, err := fleet.ForwardProxy(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer proxy.Close()
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxy.Addr().String()})}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport}
	for _, host := range []string{"web2", "web3"} {
		address := "http://" + net.JoinHostPort(host, demofleet.WebPort) + "/"
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		reply, err := client.Do(request)
		if err != nil {
			return err
		}
		page, err := io.ReadAll(io.LimitReader(reply.Body, 1<<10))
		reply.Body.Close()
		if err != nil {
			return err
		}
		fmt.Fprintf(printer{screen}, "$ curl -x http://%s %s\n%s", proxy.Addr(), address, page)
		if !strings.Contains(string(page), host) {
			return errors.New("the page is from another host")
		}
	}
	return nil
}
