// Package book has no code of its own: its tests read the README and docs/ as a newcomer
// would, and compile or run each block of code in them.
package book

// What the blocks of code import, so that this module has it.
import (
	_ "github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/redis/rueidis"

	_ "github.com/revisit-go/revisit/pgstore"
	_ "github.com/revisit-go/revisit/redisstore"
	_ "github.com/revisit-go/revisit/sqlitestore"
)
