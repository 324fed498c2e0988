// What the model field suggests. Any other name may be typed.
import { byId, make } from "./dom";
import { askForKey, credential } from "./key";

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
  const offerListed = async (): Promise<void> => {
    const offered = new Set([...list.querySelectorAll("option")].map(({ value }) => value));
    list.prepend(...(await listed(offerListed)).filter((id) => !offered.has(id)).map((id) => option(id)));
  };
  await offerListed();
}

async function listed(again: () => Promise<void>): Promise<string[]> {
  try {
    const response = await fetch("/v1/models", { headers: credential(), signal: AbortSignal.timeout(5_000) });
    if (response.status === 401) askForKey(() => void again());
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
