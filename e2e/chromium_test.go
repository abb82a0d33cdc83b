package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// patience is how long a browser may take for anything. The machine may be
// busy; nothing waits for it otherwise.
const patience = 60 * time.Second

type chromium struct {
	path, profile, version string

	allocator context.Context
	window    context.Context // of the first window
	stop      func()
	ctx       context.Context // of the window in use
}

func openChromium(t *testing.T) browser {
	path, err := exec.LookPath("chromium")
	require.NoError(t, err, "Chromium is missing: run make deps")
	c := &chromium{path: path, profile: t.TempDir()}
	c.start(t)
	t.Cleanup(func() { c.stop() })
	return c
}

func (c *chromium) start(t *testing.T) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(c.path),
		chromedp.UserDataDir(c.profile),
		chromedp.NoSandbox, // the tests may run as root
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("no-proxy-server", true),
		// With --ignore-certificate-errors nothing would be cached.
		chromedp.Flag("ignore-certificate-errors-spki-list", testCA().pin),
		chromedp.WSURLReadTimeout(patience),
	)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	window, stopWindow := chromedp.NewContext(allocator)
	c.allocator, c.window, c.ctx = allocator, window, window
	c.stop = func() {
		_ = chromedp.Cancel(window) // ends the browser in order, and its cookies are written
		stopWindow()
		stopAllocator()
	}
	c.do(t, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		v, err := cdp.Call(ctx, target, cdpbrowser.GetVersion, cdp.Empty{})
		c.version = v.Product
		return err
	}))
}

// do starts the browser, if need be, in the context that lives as long as the
// window: only the waiting ends with patience.
func (c *chromium) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	c.wait(t, func() error { return chromedp.Do(c.ctx, steps...) })
}

// load does what has another page loaded, and waits for that.
func (c *chromium) load(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	c.wait(t, func() error {
		_, err := chromedp.RunResponse(c.ctx, steps...)
		return err
	})
}

func (c *chromium) wait(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(patience):
		require.FailNow(t, "Chromium does not answer")
	}
}

func (c *chromium) name() string { return c.version }

func (c *chromium) visit(t *testing.T, url string) {
	t.Helper()
	// By way of an empty page: the same address twice would be a reload.
	c.wait(t, func() error {
		err := chromedp.Do(c.ctx, chromedp.Navigate("about:blank"))
		if err != nil && strings.Contains(err.Error(), "ERR_ABORTED") { // by a page that was still on its way
			err = chromedp.Do(c.ctx, chromedp.Navigate("about:blank"))
		}
		return err
	})
	c.do(t, chromedp.Navigate(url))
}

func (c *chromium) submit(t *testing.T, action, value string) {
	t.Helper()
	c.load(t, script(submitScript(action, value)))
}

func (c *chromium) follow(t *testing.T, path string) {
	t.Helper()
	c.load(t, script(fmt.Sprintf(`document.querySelector('a[href=%q]').click()`, path)))
}

func script(s string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := chromedp.Evaluate[any](s+"; 0")(ctx, target)
		return err
	})
}

// submitScript presses a button of a form.
func submitScript(action, value string) string {
	return fmt.Sprintf(`(() => { const f = document.querySelector('form[action=%q]');
		f.requestSubmit(%q ? f.querySelector('button[value=%q]') : null); })()`, action, value, value)
}

func (c *chromium) reload(t *testing.T) { t.Helper(); c.do(t, chromedp.Reload()) }

func (c *chromium) hardReload(t *testing.T) {
	t.Helper()
	ignore := true
	c.load(t, command(page.Reload, page.ReloadParams{IgnoreCache: &ignore}))
}

func (c *chromium) back(t *testing.T, path string) {
	t.Helper()
	c.do(t, script("history.back()"))
	// A page that was only put aside is not loaded, so there is no event.
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		require.True(t, time.Now().Before(end), "Chromium does not arrive at %s", path)
		if there, err := chromedp.Run(c.ctx, chromedp.Evaluate[bool](arrived(path))); err == nil && there {
			return
		}
	}
}

// arrived asks whether the page of a path is there.
func arrived(path string) string {
	return fmt.Sprintf(`[location.pathname, location.pathname + location.search].includes(%q) && document.readyState === "complete"`, path)
}

func (c *chromium) run(t *testing.T, script string) string {
	t.Helper()
	var result string
	c.wait(t, func() (err error) {
		result, err = chromedp.Run(c.ctx, chromedp.Evaluate[string]("JSON.stringify((() => {"+script+"})() ?? null)"))
		return err
	})
	return result
}

func (c *chromium) allowScript(t *testing.T, allowed bool) {
	t.Helper()
	c.do(t, command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !allowed}))
}

func (c *chromium) deleteCookies(t *testing.T) {
	t.Helper()
	c.do(t, command(network.ClearBrowserCookies, cdp.Empty{}))
}

// blockCookies is a preference of the profile, which is read at the start.
func (c *chromium) blockCookies(t *testing.T) {
	t.Helper()
	c.stop()
	path := filepath.Join(c.profile, "Default", "Preferences")
	preferences := map[string]any{}
	if text, err := os.ReadFile(path); err == nil {
		require.NoError(t, json.Unmarshal(text, &preferences))
	}
	profile, _ := preferences["profile"].(map[string]any)
	if profile == nil {
		profile = map[string]any{}
	}
	profile["default_content_setting_values"] = map[string]any{"cookies": 2}
	preferences["profile"] = profile
	text, err := json.Marshal(preferences)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, text, 0o600))
	c.start(t)
}

func (c *chromium) clearCache(t *testing.T) {
	t.Helper()
	c.do(t, command(network.ClearBrowserCache, cdp.Empty{}))
}

// command sends one command of the protocol.
func command[P, R any](cmd cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, cmd, params)
		return err
	})
}

func (c *chromium) restart(t *testing.T) {
	t.Helper()
	c.stop()
	c.start(t)
}

func (c *chromium) private(t *testing.T) (closeWindow func()) {
	t.Helper()
	ctx, stop := chromedp.NewContext(c.window, chromedp.WithNewBrowserContext())
	c.ctx = ctx
	return func() {
		stop()
		c.ctx = c.window
	}
}
