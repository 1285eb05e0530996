// An Express shop that knows nothing of OpenTelemetry: run it with
// `node --require @opentelemetry/auto-instrumentations-node/register app.js`.
//
// A request to /buy/ITEM asks the stock service, by default this program itself, for /stock/ITEM.
// The item `unicorn` makes the stock service throw an error. PAGES is a folder of files to serve.
const express = require("express");
const log = require("pino")();

const port = Number(process.env.PORT ?? 8100);
const stockUrl = process.env.STOCK_URL ?? `http://127.0.0.1:${port}`;
const app = express();

app.get("/buy/:item", async (request, response) => {
  const answer = await fetch(`${stockUrl}/stock/${request.params.item}`);
  if (!answer.ok) throw new Error(`stock answered ${answer.status}`);
  response.json({ bought: request.params.item });
});

app.get("/stock/:item", (request, response) => {
  const { item } = request.params;
  if (item === "unicorn") throw new Error("the stock database is away");
  log.warn(`only 1 ${item} left`);
  response.json({ left: 1 });
});

// Express calls this for every error that a route throws.
app.use((error, _request, response, _next) => {
  log.error(error);
  response.status(500).json({ error: "Internal Server Error" });
});

if (process.env.PAGES) app.use(express.static(process.env.PAGES));
const server = app.listen(port, "127.0.0.1");
// The instrumentation handles SIGTERM, so that Node.js no longer exits by itself.
process.once("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
});
