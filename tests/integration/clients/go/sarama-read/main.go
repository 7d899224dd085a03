// sarama: reads a topic in a group, each record once and each partition in its order. Arguments: BOOTSTRAP TOPIC COUNT.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

func fail(format string, a ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", a...)
	os.Exit(1)
}

type handler struct {
	mu                   sync.Mutex
	next                 map[int32]int64
	records, size, count int
	done                 context.CancelFunc
}

func (h *handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (h *handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (h *handler) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for {
		select {
		case <-s.Context().Done():
			return nil
		case m, ok := <-c.Messages():
			if !ok {
				return nil
			}
			h.mu.Lock()
			if m.Offset != h.next[m.Partition] {
				fail("partition %d: offset %d, not %d", m.Partition, m.Offset, h.next[m.Partition])
			}
			h.next[m.Partition]++
			h.records++
			h.size += len(m.Value)
			if h.records == h.count {
				h.done()
			}
			h.mu.Unlock()
		}
	}
}

func main() {
	topic := os.Args[2]
	count, _ := strconv.Atoi(os.Args[3])
	cfg := sarama.NewConfig()
	cfg.Version = sarama.V3_9_0_0
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	cfg.Consumer.Offsets.AutoCommit.Enable = false
	g, err := sarama.NewConsumerGroup(strings.Split(os.Args[1], ","), fmt.Sprintf("%s-%d", topic, time.Now().UnixNano()), cfg)
	if err != nil {
		fail("group: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Second)
	h := &handler{next: map[int32]int64{}, count: count, done: cancel}
	for ctx.Err() == nil {
		if err := g.Consume(ctx, []string{topic}, h); err != nil {
			fail("consume: %v", err)
		}
	}
	g.Close()
	if h.records != count {
		fail("%d of %d records came", h.records, count)
	}
	fmt.Printf("{\"records\": %d, \"bytes\": %d}\n", h.records, h.size)
}
