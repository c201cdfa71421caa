// What the player can be asked for. docs/player.md has the table; a test compares it with the player.

import type { OptionName, OptionValue } from "./options.js";

/** Every command with the fields of its own. */
export interface CommandFields {
  interrupt: object;
  set: Partial<Record<OptionName | "token", OptionValue>>;
}

/** A command as the player's page takes it. */
export function commandText<T extends keyof CommandFields>(
  type: T,
  fields: CommandFields[T],
): string {
  return JSON.stringify({ ...fields, target: "musetalk-player", type });
}
