// sarama: produce, consume in a group, compare. Arguments: BOOTSTRAP TOPIC COUNT.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

func value(i int) []byte {
	b := make([]byte, 200+i%800)
	for j := range b {
		b[j] = byte(32 + (i*31+j*7)%95)
	}
	return b
}

func fail(format string, a ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", a...)
	os.Exit(1)
}

type handler struct {
	mu    sync.Mutex
	seen  map[int]bool
	count int
	done  context.CancelFunc
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
			i, _ := strconv.Atoi(string(m.Headers[0].Value))
			if string(m.Key) != fmt.Sprintf("k%d", i) || !bytes.Equal(m.Value, value(i)) || int(m.Partition) != i%3 {
				fail("record %d differs", i)
			}
			h.mu.Lock()
			if h.seen[i] {
				fail("record %d came twice", i)
			}
			h.seen[i] = true
			s.MarkMessage(m, "")
			if len(h.seen) == h.count {
				h.done()
			}
			h.mu.Unlock()
		}
	}
}

// tlsConfig is nil without HR_TLS_CA, a file of CAs; HR_TLS_CERT and HR_TLS_KEY are the client's own.
func tlsConfig() *tls.Config {
	if os.Getenv("HR_TLS_CA") == "" {
		return nil
	}
	pem, err := os.ReadFile(os.Getenv("HR_TLS_CA"))
	if err != nil {
		fail("CAs: %v", err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(pem)
	if os.Getenv("HR_TLS_CERT") != "" {
		pair, err := tls.LoadX509KeyPair(os.Getenv("HR_TLS_CERT"), os.Getenv("HR_TLS_KEY"))
		if err != nil {
			fail("certificate: %v", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}

func main() {
	bootstrap, topic := strings.Split(os.Args[1], ","), os.Args[2]
	count, _ := strconv.Atoi(os.Args[3])
	cfg := sarama.NewConfig()
	cfg.Version = sarama.V3_9_0_0
	cfg.Producer.RequiredAcks = sarama.WaitForAll
	cfg.Producer.Return.Successes = true
	cfg.Producer.Partitioner = sarama.NewManualPartitioner
	cfg.Producer.Compression = sarama.CompressionSnappy
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	if config := tlsConfig(); config != nil {
		cfg.Net.TLS.Enable, cfg.Net.TLS.Config = true, config
	}

	p, err := sarama.NewSyncProducer(bootstrap, cfg)
	if err != nil {
		fail("producer: %v", err)
	}
	var batch []*sarama.ProducerMessage
	for i := 0; i < count; i++ {
		batch = append(batch, &sarama.ProducerMessage{Topic: topic, Partition: int32(i % 3), Key: sarama.StringEncoder(fmt.Sprintf("k%d", i)),
			Value: sarama.ByteEncoder(value(i)), Headers: []sarama.RecordHeader{{Key: []byte("i"), Value: []byte(strconv.Itoa(i))}}})
	}
	if err := p.SendMessages(batch); err != nil {
		fail("produce: %v", err)
	}
	p.Close()

	g, err := sarama.NewConsumerGroup(bootstrap, topic+"-sarama", cfg)
	if err != nil {
		fail("group: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	h := &handler{seen: map[int]bool{}, count: count, done: cancel}
	for ctx.Err() == nil {
		if err := g.Consume(ctx, []string{topic}, h); err != nil {
			fail("consume: %v", err)
		}
	}
	g.Close()
	if len(h.seen) != count {
		fail("%d of %d records came back", len(h.seen), count)
	}
	fmt.Printf("{\"records\": %d, \"client\": \"sarama\"}\n", len(h.seen))
}
