// franz-go: produce, consume in a group, compare. Arguments: BOOTSTRAP TOPIC COUNT.
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
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
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
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()

	common := []kgo.Opt{kgo.SeedBrokers(bootstrap...)}
	if config := tlsConfig(); config != nil {
		common = append(common, kgo.DialTLSConfig(config))
	}
	p, err := kgo.NewClient(append(common, kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()))...)
	if err != nil {
		fail("producer: %v", err)
	}
	for i := 0; i < count; i++ {
		p.Produce(ctx, &kgo.Record{Topic: topic, Partition: int32(i % 3), Key: []byte(fmt.Sprintf("k%d", i)), Value: value(i),
			Headers: []kgo.RecordHeader{{Key: "i", Value: []byte(strconv.Itoa(i))}}}, func(r *kgo.Record, err error) {
			if err != nil {
				fail("record %s: %v", r.Key, err)
			}
		})
	}
	if err := p.Flush(ctx); err != nil {
		fail("flush: %v", err)
	}
	p.Close()

	c, err := kgo.NewClient(append(common, kgo.ConsumerGroup(topic+"-franz"), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())...)
	if err != nil {
		fail("consumer: %v", err)
	}
	seen := map[int]bool{}
	for len(seen) < count {
		fetches := c.PollFetches(ctx)
		if ctx.Err() != nil {
			fail("%d of %d records came back", len(seen), count)
		}
		fetches.EachError(func(t string, p int32, err error) { fail("fetch %s/%d: %v", t, p, err) })
		fetches.EachRecord(func(r *kgo.Record) {
			i, _ := strconv.Atoi(string(r.Headers[0].Value))
			if string(r.Key) != fmt.Sprintf("k%d", i) || !bytes.Equal(r.Value, value(i)) || int(r.Partition) != i%3 {
				fail("record %d differs", i)
			}
			if seen[i] {
				fail("record %d came twice", i)
			}
			seen[i] = true
		})
	}
	if err := c.CommitUncommittedOffsets(ctx); err != nil {
		fail("commit: %v", err)
	}
	c.Close()
	fmt.Printf("{\"records\": %d, \"client\": \"franz-go\"}\n", len(seen))
}
