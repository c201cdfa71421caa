// An asset that came with the app: here it lies beside the page.

export const Asset = {
  fromModule: (uri: string) => ({ downloadAsync: async () => ({ localUri: uri }) }),
};
