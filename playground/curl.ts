import { credential } from "./key";
import type { GenerationRequest } from "./generation";

/** The same request for a POSIX shell. */
export function asCurl(request: GenerationRequest): string {
  const url = new URL("/v1/generations", location.href).href;
  // Where the key stands, never the key: what is copied is pasted into chats.
  const key = "authorization" in credential() ? ' -H "authorization: Bearer $KEY"' : "";
  return `curl -N ${quoted(url)}${key} -H 'content-type: application/json' -d ${quoted(JSON.stringify(request))}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
