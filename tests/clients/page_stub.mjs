// What pages need of a browser, for blocks of the documentation that run in Node.js. What they append to the body is
// printed.
globalThis.window = globalThis;
globalThis.EventSource = (await import("eventsource")).EventSource;
globalThis.document = {
  hidden: false,
  addEventListener() {},
  removeEventListener() {},
  body: { append: (text) => process.stdout.write(text) },
};
