// What the avatar can say: sentences that came with the app, or a file of the device.

import { Asset } from "expo-asset";
import { getDocumentAsync } from "expo-document-picker";
import type { Caption, SoundFile } from "@musetalk-stream/react-native";

import goodbye from "../assets/goodbye.mp3";
import hello from "../assets/hello.mp3";
import story from "../assets/story.mp3";

export interface Sound {
  readonly title: string;
  readonly captions?: readonly Caption[];
  readonly file: () => Promise<SoundFile>;
}

export const SENTENCES: readonly Sound[] = [
  {
    title: "Say hello",
    captions: [
      { start: 0, end: 0.6, text: "Hello!" },
      { start: 0.8, end: 2.0, text: "Nice to meet you." },
      { start: 2.1, end: 4.9, text: "I am an avatar, and I live in this app." },
    ],
    file: () => fileOf(hello, "hello.mp3"),
  },
  {
    title: "Tell a story",
    captions: [
      { start: 0, end: 3.3, text: "Once upon a time there was a picture that could not speak." },
      { start: 3.4, end: 7.7, text: "Then somebody sent it a voice, and its lips began to move." },
      { start: 7.8, end: 12.5, text: "It has not stopped talking since, unless somebody presses stop." },
    ],
    file: () => fileOf(story, "story.mp3"),
  },
  {
    title: "Say goodbye",
    captions: [
      { start: 0, end: 0.8, text: "Goodbye." },
      { start: 0.9, end: 2.4, text: "Come back soon." },
    ],
    file: () => fileOf(goodbye, "goodbye.mp3"),
  },
];

/** A file that the user chooses; null if they don't. */
export async function chooseSound(): Promise<Sound | null> {
  const chosen = await getDocumentAsync({ type: "audio/*", copyToCacheDirectory: true });
  const [asset] = chosen.assets ?? [];
  if (!asset) return null;
  const { uri, name, mimeType } = asset;
  const file: SoundFile = { uri, name, type: mimeType ?? null };
  return { title: name, file: async () => file };
}

/** An asset of the app as a file: on the device it may be inside the app's package. */
async function fileOf(asset: number, name: string): Promise<SoundFile> {
  const { localUri } = await Asset.fromModule(asset).downloadAsync();
  if (localUri === null) throw new Error(`${name} did not come with the app`);
  return { uri: localUri, name };
}
