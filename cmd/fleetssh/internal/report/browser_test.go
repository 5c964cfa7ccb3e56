package report

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	devtools "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// patience is how long a test waits for the browser. On a busy machine, it takes a minute to start.
const patience = 4 * time.Minute

// A tab is a tab of a browser that shows a page.
type tab struct {
	*testing.T
	ctx context.Context
}

// openPage shows a page in a real browser.
func openPage(t *testing.T, d Data) *tab {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium-headless-shell", "chromium", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Fatal("there is no Chromium: .ci/prepare installs it")
	}
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte(write(t, d)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(program), chromedp.DisableGPU, chromedp.WindowSize(1100, 800), chromedp.WSURLReadTimeout(patience),
		chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-dev-shm-usage", true))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // the sandbox of Chromium refuses root
	}
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &tab{t, ctx}
	b.do(chromedp.Navigate("file://" + file))
	return b
}

// do performs actions in the page.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.T.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.Fatal(err)
	}
}

// press presses a key.
func (b *tab) press(key string) {
	b.T.Helper()
	b.do(chromedp.KeyEvent(key))
}

// eval evaluates an expression in the page.
func eval[T any](b *tab, expression string) T {
	b.T.Helper()
	result, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.Fatal(err)
	}
	return result
}

// call calls a method of the DevTools protocol.
func call[P, R any](b *tab, method cdp.Command[P, R], params P) R {
	b.T.Helper()
	result, err := chromedp.Run(b.ctx, func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, method, params) })
	if err != nil {
		b.Fatal(err)
	}
	return result
}

// wait waits until a condition holds in the page.
func (b *tab) wait(condition string) {
	b.T.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool]("Boolean("+condition+")", chromedp.WithPollingTimeout(patience))); err != nil {
		b.Fatalf("%s: %v", condition, err)
	}
}

// focus is the element that has the keyboard.
type focus struct {
	Name    string // what a screen reader says, about
	Outline bool   // it is marked
	InView  bool   // it can be seen, or a part of it
}

// nameOf is a function of the page.
const nameOf = `(e) => e === document.body ? "" : e.tagName.toLowerCase() + " " + (e.getAttribute("aria-label") || document.getElementById(e.getAttribute("aria-labelledby"))?.textContent || e.textContent || e.type).trim().replace(/\s+/g, " ").slice(0, 40)`

// focused returns the element that has the keyboard.
func (b *tab) focused() focus {
	b.T.Helper()
	return eval[focus](b, `(() => {
		const e = document.activeElement, box = e.getBoundingClientRect();
		return {
			Name: (`+nameOf+`)(e), Outline: getComputedStyle(e).outlineStyle === "solid",
			InView: box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth,
		};
	})()`)
}

// tabTo presses Tab until an element has the keyboard whose name begins with the given one.
func (b *tab) tabTo(name string) {
	b.T.Helper()
	eval[chromedp.Void](b, `document.activeElement.blur()`)
	for range 500 {
		b.press(kb.Tab)
		if strings.HasPrefix(b.focused().Name, name) {
			return
		}
	}
	b.Fatalf("Tab does not reach %q", name)
}

// The page can be used by keyboard alone, in a real browser, with large text and small screens, in light
// and dark colours, and on paper.
func TestBrowser(t *testing.T) {
	t.Parallel()
	d := fleet(60)
	for i := range 5 {
		d.Variants = append(d.Variants, Variant{Hosts: fmt.Sprintf("odd%d", i), Count: 1, Stdout: fmt.Sprintf("restarted\nstrange %d\n", i)})
	}
	long := strings.Repeat("web12,", 100) // no spaces
	d.Command, d.Groups[0].Hosts, d.Groups[0].Reason, d.Hosts[3].Message = d.Command+long, long, long, d.Hosts[3].Message+long
	d.Variants[0].Hosts, d.Variants[0].Stdout = long, long
	whole := openPage(t, d)
	part := func(name string, test func(b *tab)) {
		t.Run(name, func(t *testing.T) { test(&tab{t, whole.ctx}) }) // one after the other, in the same tab
	}

	part("Tab reaches all that reacts to keys, in the order of the page", func(b *tab) {
		want := eval[[]string](b, `[...document.querySelectorAll("a[href], button, input, summary, [tabindex]")].filter((e) => e.checkVisibility({contentVisibilityAuto: true})).map(`+nameOf+`)`)
		var got []string
		for range 2 * len(want) {
			b.press(kb.Tab)
			f := b.focused()
			if f.Name == "" {
				break // Tab has left the page: it is no trap
			}
			got = append(got, f.Name)
			if !f.Outline || !f.InView {
				b.Errorf("%s: outline %v, in view %v", f.Name, f.Outline, f.InView)
			}
		}
		if !slices.Equal(got, want) {
			b.Errorf("reached:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if len(want) < 40 || want[0] != "a Skip to the hosts" {
			b.Errorf("%d elements, the first is %q", len(want), want[0])
		}
	})
	part("the first link skips to the hosts", func(b *tab) {
		b.tabTo("a Skip to the hosts")
		b.press(kb.Enter)
		b.wait(`location.hash === "#hosts" && document.getElementById("hosts").getBoundingClientRect().top < innerHeight`)
	})
	part("Enter and Space sort a table", func(b *tab) {
		b.tabTo("div Hosts")
		eval[chromedp.Void](b, `document.activeElement.scrollTop = 0`)
		for !strings.HasPrefix(b.focused().Name, "button Done after") {
			b.press(kb.Tab)
		}
		const times = `[...document.querySelectorAll("#hosts tbody tr")].map((row) => Number(row.cells[7].dataset.v))`
		for _, step := range []struct{ key, order, compare string }{{kb.Enter, "ascending", "<="}, {" ", "descending", ">="}} {
			b.press(step.key)
			b.wait(`document.activeElement.closest("th").ariaSort === "` + step.order + `" && ` + times + `.every((v, i, all) => i === 0 || all[i-1] ` + step.compare + ` v)`)
		}
	})
	part("the field filters the hosts", func(b *tab) {
		b.tabTo("input")
		b.do(chromedp.KeyEvent("unreachable"))
		b.wait(`[...document.querySelectorAll("#hosts tbody tr")].filter((row) => row.checkVisibility()).length === 3 && document.querySelector(".filter output").textContent === "3 of 60"`)
		b.press(kb.Escape) // clears a search field
		b.wait(`document.querySelector(".filter output").textContent === "60 of 60"`)
	})
	part("Space opens the output of a variant", func(b *tab) {
		b.tabTo("summary Variant 6")
		b.press(" ")
		b.wait(`document.activeElement.parentElement.open`)
		b.press(kb.Enter)
		b.wait(`!document.activeElement.parentElement.open`)
	})
	part("keys scroll a region", func(b *tab) {
		b.tabTo("div Hosts")
		b.press(kb.End)
		b.wait(`document.activeElement.scrollTop > 100`)
	})
	part("Enter copies the line for the rerun", func(b *tab) {
		b.tabTo("button Copy")
		b.press(kb.Enter)
		b.wait(`["copied", "selected"].includes(document.querySelector(".again output").textContent) && getSelection().toString() === document.getElementById("rerun").textContent`)
	})
	part("nothing is wider than the screen, and text stands out", func(b *tab) {
		for _, scheme := range []string{"light", "dark"} {
			call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			for _, width := range []int64{360, 1100} {
				call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 800, DeviceScaleFactor: 1})
				b.wait(fmt.Sprint("innerWidth === ", width))
				b.fits(fmt.Sprintf("%s, %d pixels", scheme, width))
			}
			b.readable(scheme)
		}
		call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{})
		call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{})
	})
	part("all output is on paper", func(b *tab) {
		eval[chromedp.Void](b, `addEventListener("beforeprint", () => window.printed = document.querySelectorAll("details:not([open])").length)`)
		closed := eval[int](b, `document.querySelectorAll("details:not([open])").length`)
		background := true
		paper := call(b, devtools.PrintToPDF, devtools.PrintToPDFParams{PrintBackground: &background}).Data
		b.wait(`document.querySelectorAll("details:not([open])").length === ` + fmt.Sprint(closed))
		if printed := eval[int](b, `window.printed ?? -1`); !strings.HasPrefix(string(paper), "%PDF-") || closed == 0 || printed != 0 {
			b.Errorf("%d bytes; of %d parts, %d were closed on paper", len(paper), closed, printed)
		}
		// As wide as A4 without its margins.
		call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
		call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 718, Height: 1000, DeviceScaleFactor: 1})
		b.wait(`innerWidth === 718`)
		b.fits("on paper")
		b.readable("on paper")
		hidden := eval[int](b, `[...document.querySelectorAll("nav, .filter, .skip, button.copy")].filter((e) => getComputedStyle(e).display !== "none").length`)
		cut := eval[[]string](b, `[...document.querySelectorAll(".scroll, pre")].filter((e) => e.scrollHeight > e.clientHeight + 1 || e.scrollWidth > e.clientWidth + 1).map(`+nameOf+`)`)
		if hidden > 0 || len(cut) > 0 {
			b.Errorf("on paper: %d parts that only a screen needs; cut: %q", hidden, cut)
		}
	})
}

// fits checks that the page is not wider than the screen.
func (b *tab) fits(where string) {
	b.T.Helper()
	wide := eval[[]string](b, `document.documentElement.scrollWidth <= document.documentElement.clientWidth ? [] : [...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > innerWidth && !e.closest(".scroll, pre")).map(`+nameOf+`)`)
	if len(wide) > 0 {
		b.Errorf("%s: wider than the screen: %q", where, wide)
	}
}

// readable checks that each text has a contrast of 4.5 to its background (WCAG 2, AA).
func (b *tab) readable(where string) {
	b.T.Helper()
	faint := eval[[]string](b, `(() => {
		const parse = (color) => color.match(/[\d.]+/g).map(Number);
		const luminance = (color) => {
			const [r, g, b] = parse(color).map((c) => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
			return .2126 * r + .7152 * g + .0722 * b;
		};
		const background = (e) => {
			for (; e; e = e.parentElement) {
				const color = getComputedStyle(e).backgroundColor;
				if (!(parse(color)[3] === 0)) return color;
			}
			return "rgb(255, 255, 255)";
		};
		const faint = new Set();
		for (const e of document.querySelectorAll("body *:not(script)")) {
			if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility() || e.closest("svg")) continue;
			const [low, high] = [luminance(getComputedStyle(e).color), luminance(background(e))].sort((a, b) => a - b);
			const contrast = (high + .05) / (low + .05);
			if (contrast < 4.5) faint.add(e.tagName + "." + e.className + ": " + contrast.toFixed(2));
		}
		return [...faint];
	})()`)
	if len(faint) > 0 {
		b.Errorf("%s: texts that do not stand out: %q", where, faint)
	}
}
