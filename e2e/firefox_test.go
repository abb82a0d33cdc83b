package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// firefox is driven by Marionette, its own remote control: messages of
// "<length>:<JSON>" on a socket of loopback. A driver of WebDriver would be a
// binary to fetch; this is all that is needed.
type firefox struct {
	path, profile, version string

	cmd    *exec.Cmd
	conn   net.Conn
	reader *bufio.Reader
	next   int
}

// silence keeps Firefox from calling home, and sets the port.
const silence = `
user_pref("marionette.port", 0);
user_pref("app.update.enabled", false);
user_pref("app.normandy.enabled", false);
user_pref("browser.aboutConfig.showWarning", false);
user_pref("browser.newtabpage.enabled", false);
user_pref("browser.safebrowsing.downloads.enabled", false);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
user_pref("browser.safebrowsing.provider.google4.updateURL", "");
user_pref("browser.safebrowsing.provider.mozilla.updateURL", "");
user_pref("browser.search.update", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.homepage_override.mstone", "ignore");
user_pref("browser.startup.page", 0);
user_pref("browser.topsites.contile.enabled", false);
user_pref("datareporting.healthreport.uploadEnabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("dom.push.connection.enabled", false);
user_pref("extensions.getAddons.cache.enabled", false);
user_pref("extensions.systemAddon.update.enabled", false);
user_pref("extensions.update.enabled", false);
user_pref("geo.enabled", false);
user_pref("media.gmp-manager.updateEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("network.proxy.type", 0);
user_pref("services.settings.server", "data:,");
user_pref("toolkit.telemetry.enabled", false);
user_pref("toolkit.telemetry.unified", false);
`

func openFirefox(t *testing.T) browser {
	path, err := exec.LookPath("firefox-esr")
	require.NoError(t, err, "Firefox is missing: run make deps")
	f := &firefox{path: path, profile: t.TempDir()}
	require.NoError(t, os.WriteFile(filepath.Join(f.profile, "user.js"), []byte(silence), 0o600))
	f.start(t)
	t.Cleanup(f.kill)
	return f
}

func (f *firefox) start(t *testing.T) {
	portFile := filepath.Join(f.profile, "MarionetteActivePort")
	_ = os.Remove(portFile)
	f.cmd = exec.Command(f.path, "--headless", "--no-remote", "--marionette", "--remote-allow-system-access", "--profile", f.profile)
	f.cmd.Env = append(os.Environ(), "HOME="+f.profile, "MOZ_DISABLE_CONTENT_SANDBOX=1")
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its children end with it
	require.NoError(t, f.cmd.Start())

	for end := time.Now().Add(patience); f.conn == nil; time.Sleep(20 * time.Millisecond) {
		require.True(t, time.Now().Before(end), "Firefox does not start")
		port, err := os.ReadFile(portFile)
		if err != nil {
			continue
		}
		if conn, err := net.Dial("tcp", "127.0.0.1:"+strings.TrimSpace(string(port))); err == nil {
			f.conn, f.reader = conn, bufio.NewReader(conn)
		}
	}
	f.read(t, nil) // the greeting
	var session struct {
		Capabilities struct {
			BrowserName    string `json:"browserName"`
			BrowserVersion string `json:"browserVersion"`
		} `json:"capabilities"`
	}
	f.do(t, "WebDriver:NewSession", map[string]any{}, &session)
	f.script(t, "chrome", fmt.Sprintf(`Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(%q, "C,,")`, testCA().base64))
	f.version = "Firefox/" + session.Capabilities.BrowserVersion
}

func (f *firefox) kill() {
	if f.conn != nil {
		f.conn.Close()
		f.conn = nil
	}
	if f.cmd != nil && f.cmd.Process != nil {
		_ = syscall.Kill(-f.cmd.Process.Pid, syscall.SIGKILL)
		_ = f.cmd.Wait()
		f.cmd = nil
	}
}

// do sends a command and waits for its answer.
func (f *firefox) do(t *testing.T, command string, parameters map[string]any, result any) {
	t.Helper()
	f.next++
	message, err := json.Marshal([]any{0, f.next, command, parameters})
	require.NoError(t, err)
	require.NoError(t, f.conn.SetDeadline(time.Now().Add(patience)))
	_, err = fmt.Fprintf(f.conn, "%d:%s", len(message), message)
	require.NoError(t, err, command)
	var answer []json.RawMessage
	f.read(t, &answer)
	require.Len(t, answer, 4, command)
	require.Equal(t, strconv.Itoa(f.next), string(answer[1]), command)
	require.Equal(t, "null", string(answer[2]), "%s: %s", command, answer[2])
	if result != nil {
		require.NoError(t, json.Unmarshal(answer[3], result), command)
	}
}

func (f *firefox) read(t *testing.T, value any) {
	t.Helper()
	length, err := f.reader.ReadString(':')
	require.NoError(t, err)
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	require.NoError(t, err)
	message := make([]byte, n)
	_, err = io.ReadFull(f.reader, message)
	require.NoError(t, err)
	if value != nil {
		require.NoError(t, json.Unmarshal(message, value))
	}
}

func (f *firefox) name() string { return f.version }

func (f *firefox) visit(t *testing.T, url string) {
	t.Helper()
	f.do(t, "WebDriver:Navigate", map[string]any{"url": "about:blank"}, nil)
	f.do(t, "WebDriver:Navigate", map[string]any{"url": url}, nil)
}

func (f *firefox) submit(t *testing.T, action, value string) {
	t.Helper()
	f.script(t, "content", `window.old = true; `+submitScript(action, value))
	f.settled(t)
}

// settled waits for the page that comes after the marked one. Firefox puts the
// marked page aside and begins the next in a new browsing context, whose first
// document is an empty one, complete at once: that is not yet the page.
func (f *firefox) settled(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		require.True(t, time.Now().Before(end), "Firefox does not load the next page")
		if f.script(t, "content", `return !window.old && location.protocol !== "about:" && document.readyState === "complete"`) == "true" {
			return
		}
	}
}

// script runs in the page ("content") or in the browser itself ("chrome").
func (f *firefox) script(t *testing.T, where, script string) string {
	t.Helper()
	f.do(t, "Marionette:SetContext", map[string]any{"value": where}, nil)
	var result struct{ Value json.RawMessage }
	f.do(t, "WebDriver:ExecuteScript", map[string]any{"script": script, "args": []any{}}, &result)
	f.do(t, "Marionette:SetContext", map[string]any{"value": "content"}, nil)
	return string(result.Value)
}

// reload is the one of the menu. WebDriver:Refresh passes the cache by, which is
// a hard reload.
func (f *firefox) reload(t *testing.T) {
	t.Helper()
	f.reloads(t, `gBrowser.reload()`)
}

// reloads has the page loaded anew, and waits for that. It asks the browser
// itself, because the page may run no script.
func (f *firefox) reloads(t *testing.T, script string) {
	t.Helper()
	const window = `gBrowser.selectedBrowser.browsingContext.currentWindowGlobal.innerWindowId`
	before := f.script(t, "chrome", "return "+window)
	f.script(t, "chrome", script)
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		require.True(t, time.Now().Before(end), "Firefox does not load the page again")
		if f.script(t, "chrome", "return gBrowser.selectedBrowser.webProgress.isLoadingDocument ? 0 : "+window) != before &&
			f.script(t, "chrome", "return gBrowser.selectedBrowser.webProgress.isLoadingDocument") == "false" {
			return
		}
	}
}

func (f *firefox) run(t *testing.T, script string) string {
	t.Helper()
	return f.script(t, "content", script)
}

func (f *firefox) allowScript(t *testing.T, allowed bool) {
	t.Helper()
	f.script(t, "chrome", fmt.Sprintf(`Services.prefs.setBoolPref("javascript.enabled", %v)`, allowed))
}

func (f *firefox) hardReload(t *testing.T) {
	t.Helper()
	f.reloads(t, `gBrowser.reloadWithFlags(Ci.nsIWebNavigation.LOAD_FLAGS_BYPASS_CACHE | Ci.nsIWebNavigation.LOAD_FLAGS_BYPASS_PROXY)`)
}

func (f *firefox) follow(t *testing.T, path string) {
	t.Helper()
	var found struct{ Value map[string]string }
	f.do(t, "WebDriver:FindElement", map[string]any{"using": "css selector", "value": fmt.Sprintf("a[href=%q]", path)}, &found)
	for _, id := range found.Value {
		f.do(t, "WebDriver:ElementClick", map[string]any{"id": id}, nil) // waits for the page
	}
	f.arrive(t, path)
}

func (f *firefox) back(t *testing.T, path string) {
	t.Helper()
	f.do(t, "WebDriver:Back", map[string]any{}, nil)
	f.arrive(t, path)
}

func (f *firefox) arrive(t *testing.T, path string) {
	t.Helper()
	for end := time.Now().Add(patience); f.script(t, "content", "return "+arrived(path)) != "true"; time.Sleep(20 * time.Millisecond) {
		require.True(t, time.Now().Before(end), "Firefox does not arrive at %s", path)
	}
}

func (f *firefox) deleteCookies(t *testing.T) {
	t.Helper()
	f.script(t, "chrome", `Services.cookies.removeAll()`)
}

func (f *firefox) blockCookies(t *testing.T) {
	t.Helper()
	f.script(t, "chrome", `Services.prefs.setIntPref("network.cookie.cookieBehavior", 2)`)
}

func (f *firefox) clearCache(t *testing.T) {
	t.Helper()
	f.script(t, "chrome", `Services.cache2.clear()`)
}

func (f *firefox) restart(t *testing.T) {
	t.Helper()
	f.do(t, "Marionette:Quit", map[string]any{"flags": []string{"eAttemptQuit"}}, nil)
	f.conn.Close()
	f.conn = nil
	done := make(chan error, 1)
	go func() { done <- f.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(patience):
		require.FailNow(t, "Firefox does not quit")
	}
	f.cmd = nil
	f.start(t)
}

func (f *firefox) private(t *testing.T) (closeWindow func()) {
	t.Helper()
	var before struct{ Value string }
	f.do(t, "WebDriver:GetWindowHandle", map[string]any{}, &before)
	var window struct{ Handle string }
	f.do(t, "WebDriver:NewWindow", map[string]any{"type": "window", "private": true, "focus": true}, &window)
	f.do(t, "WebDriver:SwitchToWindow", map[string]any{"handle": window.Handle, "focus": true}, nil)
	return func() {
		f.do(t, "WebDriver:CloseWindow", map[string]any{}, nil)
		f.do(t, "WebDriver:SwitchToWindow", map[string]any{"handle": before.Value, "focus": true}, nil)
	}
}
