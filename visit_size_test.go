package revisit

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

// A Visit is the one allocation of a returning visitor, so its size is most of what that costs.
func TestTheSizeOfAVisit(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) == 8 {
		assert.LessOrEqual(t, int(unsafe.Sizeof(Visit{})), 896)
	}
}
