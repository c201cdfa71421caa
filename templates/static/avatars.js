// The page of avatars: those that there are, those in the making, and a file that becomes one.

import { Deletion } from "./deletion.js";
import { acceptChosen, acceptDropped } from "./file-input.js";
import { Gallery } from "./gallery.js";
import { JobBoard } from "./job-board.js";
import { enter } from "./key.js";

const config = JSON.parse(document.getElementById("config").textContent);
const part = (id) => document.getElementById(id);
if (config.is_closed) await enter();

const deletion = new Deletion({
  dialog: part("delete"),
  title: part("delete-title"),
  detail: part("delete-detail"),
  keep: part("delete-keep"),
  go: part("delete-go"),
  onDeleted: async (avatar) => {
    say(`${avatar.name} was deleted.`);
    await gallery.refresh();
    gallery.focus();
  },
});
const gallery = new Gallery({
  list: part("gallery"),
  count: part("count"),
  problem: part("gallery-problem"),
  onDelete: (avatar) => deletion.ask(avatar),
});
const board = new JobBoard({
  section: part("making"),
  list: part("jobs"),
  limits: config.limits,
  on: {
    done: async (job) => {
      say(`${job.name} is ready.`);
      await gallery.refresh();
      gallery.present(job.avatar_id);
    },
    failed: () => gallery.refresh(), // it may have failed when the avatar was there already
    other: () => part("file").click(),
    lost: () => gallery.refresh(),
    say,
  },
});

/** To who can't see the page. */
function say(text) {
  part("announcement").textContent = text;
}

acceptChosen(part("choose"), part("file"), (file) => board.begin(file));
acceptDropped(part("drop"), (file) => board.begin(file));
void gallery.refresh();
void board.refresh();
