// Package proxies has no code of its own: its tests put real proxies and caches in
// front of a site, each with the configuration that docs/deploy.md gives.
package proxies
