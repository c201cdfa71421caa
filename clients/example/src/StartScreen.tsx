// Where is the server, and who should speak?

import type { Session } from "@musetalk-stream/react-native";
import { useState, type ReactElement } from "react";
import {
  KeyboardAvoidingView,
  Platform,
  StyleSheet,
  Text,
  TextInput,
  View,
  type TextInputProps,
} from "react-native";

import { Button } from "./Button";
import { beginTalk, type Choice } from "./backend";
import { BOTTOM, TOP, colors } from "./theme";
import { wordsOf } from "./words";

interface StartScreenProps {
  readonly choice: Choice;
  /** Why a conversation before this one is over. */
  readonly notice: string | null;
  readonly onChoice: (choice: Choice) => void;
  readonly onSession: (session: Session) => void;
}

export function StartScreen(props: StartScreenProps): ReactElement {
  const { choice, notice, onChoice, onSession } = props;
  const [isAsking, setIsAsking] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);

  async function start(): Promise<void> {
    setIsAsking(true);
    setFailure(null);
    try {
      onSession(await beginTalk(choice));
    } catch (error) {
      setFailure(wordsOf(error));
      setIsAsking(false);
    }
  }

  return (
    <KeyboardAvoidingView
      style={styles.screen}
      {...(Platform.OS === "ios" ? { behavior: "padding" } : {})}
    >
      <View style={styles.middle}>
        <Text style={styles.title} accessibilityRole="header">
          Talk to an avatar
        </Text>
        <Text style={styles.lead}>It says what you choose, and stops when you want it to.</Text>
        <Field
          label="Server"
          value={choice.server}
          onChangeText={(server) => onChoice({ ...choice, server })}
          keyboardType="url"
          placeholder="https://avatar.example.com"
        />
        <Field
          label="Avatar"
          value={choice.avatarId}
          onChangeText={(avatarId) => onChoice({ ...choice, avatarId })}
          placeholder="the server's own"
        />
        <Field
          label="API key"
          value={choice.apiKey}
          onChangeText={(apiKey) => onChoice({ ...choice, apiKey })}
          secureTextEntry
          placeholder="if it asks for one"
        />
        {(failure ?? notice) && (
          <Text style={failure ? styles.failure : styles.notice} role="alert">
            {failure ?? notice}
          </Text>
        )}
      </View>
      <Button
        look="main"
        title={isAsking ? "Starting…" : "Start"}
        disabled={isAsking}
        onPress={() => void start()}
      />
    </KeyboardAvoidingView>
  );
}

function Field({ label, ...input }: TextInputProps & { readonly label: string }): ReactElement {
  return (
    <View>
      <Text style={styles.label}>{label}</Text>
      <TextInput
        {...input}
        style={styles.input}
        accessibilityLabel={label}
        autoCapitalize="none"
        autoCorrect={false}
        placeholderTextColor={colors.faint}
      />
    </View>
  );
}

const styles = StyleSheet.create({
  screen: { flex: 1, padding: 24, paddingTop: TOP + 8, paddingBottom: BOTTOM + 8 },
  middle: { flex: 1, justifyContent: "center", gap: 16 },
  title: { color: colors.text, fontSize: 32, fontWeight: "700" },
  lead: { color: colors.faint, fontSize: 17, lineHeight: 24, marginBottom: 16 },
  label: { color: colors.faint, fontSize: 13, marginBottom: 6 },
  input: {
    minHeight: 48,
    paddingHorizontal: 14,
    borderRadius: 14,
    borderWidth: 1,
    borderColor: colors.line,
    backgroundColor: colors.surface,
    color: colors.text,
    fontSize: 16,
  },
  notice: { color: colors.faint, fontSize: 15, lineHeight: 21 },
  failure: { color: colors.danger, fontSize: 15, lineHeight: 21 },
});
