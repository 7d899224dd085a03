// kafkajs: produce, consume in a group, compare. Arguments: BOOTSTRAP TOPIC COUNT.
// Over TLS where HR_TLS_CA names a file of CAs; HR_TLS_CERT and HR_TLS_KEY are the client's own.
'use strict';
const { readFileSync } = require('fs');
const { Kafka, logLevel, CompressionTypes } = require('kafkajs');

const [bootstrap, topic, countText] = process.argv.slice(2);
const count = Number(countText);

function value(i) {
  const b = Buffer.alloc(200 + (i % 800));
  for (let j = 0; j < b.length; j++) b[j] = 32 + ((i * 31 + j * 7) % 95);
  return b;
}

function fail(why) {
  console.error(String(why && why.stack || why));
  process.exit(1);
}

function tls() {
  const file = (name) => (process.env[name] ? readFileSync(process.env[name]) : undefined);
  return process.env.HR_TLS_CA ? { ca: file('HR_TLS_CA'), cert: file('HR_TLS_CERT'), key: file('HR_TLS_KEY') } : false;
}

async function main() {
  const kafka = new Kafka({ clientId: 'kafkajs', brokers: bootstrap.split(','), ssl: tls(), logLevel: logLevel.ERROR });
  const producer = kafka.producer({ idempotent: true });
  await producer.connect();
  for (let from = 0; from < count; from += 100) {
    const messages = [];
    for (let i = from; i < Math.min(count, from + 100); i++) {
      messages.push({ key: `k${i}`, value: value(i), partition: i % 3, headers: { i: String(i) } });
    }
    await producer.send({ topic, acks: -1, messages, compression: from % 200 ? CompressionTypes.GZIP : CompressionTypes.None });
  }
  await producer.disconnect();

  const consumer = kafka.consumer({ groupId: `${topic}-kafkajs` });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const seen = new Set();
  const done = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`${seen.size} of ${count} records came back`)), 90000).unref();
    consumer.run({
      eachMessage: async ({ partition, message }) => {
        const i = Number(message.headers.i.toString());
        if (message.key.toString() !== `k${i}` || !message.value.equals(value(i)) || partition !== i % 3) {
          reject(new Error(`record ${i} differs`));
        }
        if (seen.has(i)) reject(new Error(`record ${i} came twice`));
        seen.add(i);
        if (seen.size === count) resolve();
      },
    }).catch(reject);
  });
  await done;
  await consumer.disconnect();
  console.log(JSON.stringify({ records: seen.size, client: `kafkajs ${require('kafkajs/package.json').version}` }));
}

main().catch(fail);
