package proxies

import (
	"strings"
	"time"
)

// documented is a proxy as docs/deploy.md has it.
func documented(name string) proxy {
	for _, p := range proxies {
		if p.name == name {
			return p
		}
	}
	panic(name)
}

// with is a proxy with more in its configuration, behind the first line that has after in it.
func (p proxy) with(name, after, more string, forced time.Duration) proxy {
	p.name += ", " + name
	p.forced = forced
	before, rest, ok := strings.Cut(documentedIn(p.config), after)
	if !ok {
		panic(p.name)
	}
	p.config = before + after + more + rest
	return p
}

// careless are configurations that people write to have more kept than the site allows, in
// which a response that says private is nevertheless for one client only.
var careless = []proxy{
	documented("nginx-cache").with("forced times, stale while updating, collapsed", "proxy_cache            shop;", `
		proxy_cache_valid any 1s; proxy_cache_use_stale updating error timeout http_500 http_404;
		proxy_cache_background_update on; proxy_cache_lock on; proxy_cache_lock_timeout 20ms; proxy_ignore_headers Set-Cookie; proxy_cache_methods GET HEAD; proxy_force_ranges on;`, time.Second),
	documented("nginx-cache without the setting").with("forced times", "proxy_cache shop;", `
		proxy_cache_valid any 1s; proxy_cache_use_stale updating; proxy_cache_lock on; proxy_cache_lock_timeout 20ms; proxy_cache_revalidate on;
		proxy_ignore_headers Expires Vary;`, time.Second),
	documented("apache-cache").with("forced times, the client's no-cache ignored", "CacheEnable       disk \"/\"\n", `
CacheDefaultExpire 2
CacheMinExpire 2
CacheIgnoreNoLastMod On
CacheIgnoreCacheControl On
CacheStaleOnError On
CacheLock On
CacheLockPath "DIR/lock"
CacheIgnoreHeaders Set-Cookie
`, 2*time.Second),
	documented("varnish").with("forced times, grace, no cookies", varnishFrame, `sub vcl_recv { unset req.http.Cookie; }
sub vcl_backend_response { set beresp.ttl = 1s; set beresp.grace = 1h; set beresp.keep = 1h; unset beresp.http.Set-Cookie; }
`, time.Second),
	documented("varnish without the setting").with("forced times, grace", varnishFrame, `
sub vcl_backend_response { set beresp.ttl = 1s; set beresp.grace = 1h; set beresp.keep = 1h; }
`, time.Second),
	documented("haproxy").with("variants", "max-age 60\n", "    process-vary on\n", 0),
	documented("haproxy").with("Cache-Control replaced", "backend app\n", "    http-response set-header Cache-Control max-age=60\n", time.Minute),
	documented("squid").with("forced times", "", `
refresh_pattern . 1 100% 10 override-expire override-lastmod reload-into-ims ignore-reload ignore-no-store store-stale
range_offset_limit none
quick_abort_min -1 KB
max_stale 1 hour
`, time.Minute),
	documented("squid").with("collapsed", "", "collapsed_forwarding on\n", 0),
	documented("squid").with("asks again each time", "", `
refresh_pattern . 0 0% 0 override-expire refresh-ims
vary_ignore_expire on
offline_mode off
`, 0),
}

// Configurations in which the proxy is configured to keep what is private. Nothing that a site
// could say helps there: its own private pages reach everybody, too.
var broken = []proxy{
	documented("nginx-cache").with("Cache-Control ignored", "proxy_cache            shop;", `
		proxy_ignore_headers Cache-Control Expires; proxy_cache_valid any 1m;`, time.Minute),
	documented("apache-cache").with("CacheStorePrivate", "CacheEnable       disk \"/\"\n", "CacheStorePrivate On\nCacheDefaultExpire 60\nCacheIgnoreNoLastMod On\n", time.Minute),
	documented("apache-cache").with("Cache-Control replaced", "CacheEnable       disk \"/\"\n", `LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so
Header set Cache-Control max-age=60
`, time.Minute),
	documented("varnish").with("return (deliver)", varnishFrame, "sub vcl_backend_response { set beresp.ttl = 1m; return (deliver); }\n", time.Minute),
	documented("squid").with("ignore-private", "", "refresh_pattern . 10 100% 10 override-expire override-lastmod ignore-private ignore-no-store ignore-must-revalidate\n", time.Minute),
}
