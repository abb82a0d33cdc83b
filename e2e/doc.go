// Package e2e has no code of its own: its tests drive the shop in real browsers,
// Chromium and Firefox, and write the table in docs/recognition.md.
package e2e
