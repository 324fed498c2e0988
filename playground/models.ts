// What the model field suggests. Any other name may be typed.
import { byId, make } from "./dom";

/** The embedded model's options, each for one branch that a front end has to get right. */
const REHEARSALS: readonly (readonly [model: string, label: string])[] = [
  ["demo?tokens=400&rate=20", "Long and slow"],
  ["demo?reasoning=30", "Thinks first"],
  ["demo?tool=weather", "Calls a tool"],
  ["demo?first_token=5s", "Late first token"],
  ["demo?tokens=30&finish=length", "Cut at its length"],
  ["demo?fail_at=10", "Fails midway"],
  ["demo?status=429&retry_after=3", "Refused with 429"],
];

/** Offers the rehearsals at once, and the server's models when it has named them. */
export async function offerModels(field: HTMLInputElement): Promise<void> {
  const list = byId("models");
  for (const [model, label] of REHEARSALS) {
    list.append(option(model, label));
    const button = make("button", label);
    button.type = "button";
    button.title = model;
    button.addEventListener("click", () => {
      field.value = model;
    });
    byId("rehearsals").append(button);
  }
  list.prepend(...(await listed()).map((id) => option(id)));
}

async function listed(): Promise<string[]> {
  try {
    const response = await fetch("/v1/models", { signal: AbortSignal.timeout(5_000) });
    const { data } = (await response.json()) as { data: { id: string }[] };
    return data.map(({ id }) => id);
  } catch {
    return []; // The list is a convenience; the field works without it.
  }
}

function option(value: string, label = ""): HTMLOptionElement {
  const made = make("option");
  made.value = value;
  if (label) made.label = label;
  return made;
}
