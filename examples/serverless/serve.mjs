// Runs `function.mjs` with Node 18 or newer, on loopback.
//
//     export AFTERCALL_API=http://127.0.0.1:8000 AFTERCALL_KEY=ak_… CRM_URL=http://127.0.0.1:9000 WEBHOOK_SECRET=whsec_…
//     node examples/serverless/serve.mjs 3000

import { createServer } from 'node:http';
import receive from './function.mjs';

const port = Number(process.argv[2] ?? 3000);

createServer(async (incoming, outgoing) => {
  const parts = [];
  for await (const part of incoming) parts.push(part);
  const request = new Request(`http://127.0.0.1:${port}${incoming.url}`, {
    method: incoming.method, headers: incoming.headers, body: parts.length ? Buffer.concat(parts) : undefined,
  });
  const response = await receive(request, process.env);
  outgoing.writeHead(response.status, Object.fromEntries(response.headers)).end(await response.text());
}).listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${port}/hook`));
