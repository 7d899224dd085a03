// franz-go: reads a topic in a group, each record once and each partition in its order. Arguments: BOOTSTRAP TOPIC COUNT.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func fail(format string, a ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", a...)
	os.Exit(1)
}

func main() {
	topic := os.Args[2]
	count, _ := strconv.Atoi(os.Args[3])
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Second)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(os.Args[1], ",")...),
		kgo.ConsumerGroup(fmt.Sprintf("%s-%d", topic, time.Now().UnixNano())), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	if err != nil {
		fail("consumer: %v", err)
	}
	next, records, size := map[int32]int64{}, 0, 0
	for records < count {
		fetches := c.PollFetches(ctx)
		if ctx.Err() != nil {
			fail("%d of %d records came", records, count)
		}
		fetches.EachError(func(t string, p int32, err error) { fail("fetch %s/%d: %v", t, p, err) })
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != next[r.Partition] {
				fail("partition %d: offset %d, not %d", r.Partition, r.Offset, next[r.Partition])
			}
			next[r.Partition]++
			records++
			size += len(r.Value)
		})
	}
	c.Close()
	fmt.Printf("{\"records\": %d, \"bytes\": %d}\n", records, size)
}
